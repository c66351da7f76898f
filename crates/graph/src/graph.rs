//! The graph under construction.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;

use crate::node::{BuildError, InputInfo, Node, NodeId, ParamInfo, Part, StateInfo};
use crate::ops::{Meta, Op};
use crate::optimizer::RuleOf;
use crate::{Array, DType, Init, IntoShape, Scalar, Shape, Var};

/// A graph under construction. Building never panics and never returns `Result`: a wrong
/// [`Var`] is poisoned, and [`Graph::check`] returns the first cause.
#[derive(Debug, Default)]
pub struct Graph {
    pub(crate) inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<InputInfo>,
    pub(crate) params: Vec<ParamInfo>,
    pub(crate) states: Vec<StateInfo>,
    pub(crate) updates: BTreeMap<u32, NodeId>,
    param_nodes: Vec<NodeId>,
    state_nodes: Vec<NodeId>,
    pub(crate) paths: Vec<String>,
    path: u32,
    part: Part,
    segments: u32,
    location: Option<&'static Location<'static>>,
    streams: BTreeMap<String, u32>,
    error: Option<BuildError>,
    pub(crate) rule: RuleOf,
}

impl Inner {
    /// Gives all that names a node the number that the node has now.
    pub(crate) fn renumber(&mut self, now: impl Fn(NodeId) -> NodeId) {
        let leaves = self.param_nodes.iter_mut().chain(&mut self.state_nodes);
        let all = leaves.chain(self.updates.values_mut());
        all.for_each(|id| *id = now(*id));
    }
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        let graph = Self::default();
        graph.inner.borrow_mut().paths.push(String::new());
        graph
    }

    /// A value fed at every step.
    #[track_caller]
    pub fn input(&self, name: &str, shape: impl IntoShape, dtype: DType) -> Var<'_> {
        let Some(shape) = self.shape("input", shape) else {
            return self.poison();
        };
        let meta = Meta::new(shape, dtype);
        let index = {
            let mut inner = self.inner.borrow_mut();
            inner.inputs.push(InputInfo {
                name: name.to_string(),
                meta,
            });
            count(inner.inputs.len() - 1)
        };
        self.source(Op::Input(index), meta)
    }

    /// One scalar, everywhere.
    #[track_caller]
    pub fn full(&self, shape: impl IntoShape, value: impl Into<Scalar>) -> Var<'_> {
        let value = value.into();
        let Some(shape) = self.shape("full", shape) else {
            return self.poison();
        };
        self.source(Op::Const(value), Meta::new(shape, value.dtype()))
    }

    /// A scalar constant.
    pub fn scalar(&self, value: impl Into<Scalar>) -> Var<'_> {
        let value = value.into();
        self.source(Op::Const(value), Meta::new(Shape::SCALAR, value.dtype()))
    }

    /// A host array.
    pub fn literal(&self, array: Array) -> Var<'_> {
        let meta = Meta::new(*array.shape(), array.dtype());
        self.source(Op::Literal(Arc::new(array)), meta)
    }

    /// Positions along `axis`, `i32`, in an array of `shape`.
    #[track_caller]
    pub fn iota(&self, shape: impl IntoShape, axis: usize) -> Var<'_> {
        let Some(shape) = self.shape("iota", shape) else {
            return self.poison();
        };
        if axis >= shape.rank() {
            return self.fail("iota", format!("{shape} has no axis {axis}"));
        }
        self.source(Op::Iota(axis), Meta::new(shape, DType::I32))
    }

    /// Random bits, `u32`, new at every step. Different streams are independent; a
    /// [`crate::Scope`] gives one for each layer and use.
    #[track_caller]
    pub fn random(&self, shape: impl IntoShape, stream: u64) -> Var<'_> {
        let Some(shape) = self.shape("random", shape) else {
            return self.poison();
        };
        self.source(Op::Random { stream }, Meta::new(shape, DType::U32))
    }

    /// A word of the step row (see [`crate::step_row`]), an `f32` scalar.
    pub fn step_word(&self, word: u32) -> Var<'_> {
        let word = self.inner.borrow().rule.word(word);
        self.source(Op::StepWord(word), Meta::new(Shape::SCALAR, DType::F32))
    }

    /// The parameter of this path: made at the first call, shared afterwards.
    #[track_caller]
    pub fn param(&self, name: &str, shape: impl IntoShape, init: impl Init + 'static) -> Var<'_> {
        let Some(shape) = self.shape("param", shape) else {
            return self.poison();
        };
        let known = self
            .inner
            .borrow()
            .params
            .iter()
            .position(|p| p.name == name);
        if let Some(i) = known {
            let held = self.inner.borrow().params[i].shape;
            if held != shape {
                let message = format!("`{name}` has shape {held} elsewhere, {shape} here");
                return self.fail("param", message);
            }
            let id = self.inner.borrow().param_nodes[i];
            return self.var(id);
        }
        let index = count(self.inner.borrow().params.len());
        let var = self.source(Op::Param(index), Meta::new(shape, DType::F32));
        let mut inner = self.inner.borrow_mut();
        inner.params.push(ParamInfo {
            name: name.to_string(),
            shape,
            init: Arc::new(init),
        });
        inner.param_nodes.push(var.id());
        var
    }

    /// The state of this path: made at the first call, shared afterwards.
    #[track_caller]
    pub fn state(
        &self,
        name: &str,
        shape: impl IntoShape,
        dtype: DType,
        init: impl Into<Scalar>,
    ) -> Var<'_> {
        let Some(shape) = self.shape("state", shape) else {
            return self.poison();
        };
        let (meta, init) = (Meta::new(shape, dtype), init.into());
        if init.dtype() != dtype {
            return self.fail(
                "state",
                format!("`{name}` is {dtype} but starts as {init:?}"),
            );
        }
        let known = self
            .inner
            .borrow()
            .states
            .iter()
            .position(|s| s.name == name);
        if let Some(i) = known {
            let held = self.inner.borrow().states[i].meta;
            if held != meta {
                let message = format!("`{name}` is {held:?} elsewhere, {meta:?} here");
                return self.fail("state", message);
            }
            let id = self.inner.borrow().state_nodes[i];
            return self.var(id);
        }
        self.new_state(StateInfo {
            name: name.to_string(),
            meta,
            init,
            cache: false,
        })
    }

    pub(crate) fn new_state(&self, info: StateInfo) -> Var<'_> {
        let index = count(self.inner.borrow().states.len());
        let var = self.source(Op::State(index), info.meta);
        let mut inner = self.inner.borrow_mut();
        inner.states.push(info);
        inner.state_nodes.push(var.id());
        var
    }

    /// Gives `state` a new value at the end of a training step.
    #[track_caller]
    pub fn update(&self, state: Var<'_>, value: Var<'_>) {
        if state.is_poisoned() || value.is_poisoned() {
            return;
        }
        let Op::State(index) = self.node(state.id()).op else {
            self.fail("update", "the first argument is not a state".into());
            return;
        };
        if state.meta() != value.meta() {
            let (s, v) = (state.meta(), value.meta());
            self.fail("update", format!("state is {s:?}, new value is {v:?}"));
            return;
        }
        self.inner.borrow_mut().updates.insert(index, value.id());
    }

    /// The value that a state has been given so far, or the old one.
    pub fn latest<'g>(&'g self, state: Var<'g>) -> Var<'g> {
        if state.is_poisoned() {
            return state;
        }
        let Op::State(index) = self.node(state.id()).op else {
            return state;
        };
        let given = self.inner.borrow().updates.get(&index).copied();
        given.map_or(state, |id| self.var(id))
    }

    /// The first mistake, if any.
    ///
    /// # Errors
    /// If any op of the graph was given inputs that do not fit.
    pub fn check(&self) -> Result<(), BuildError> {
        self.inner.borrow().error.clone().map_or(Ok(()), Err)
    }

    /// A copy of a node.
    pub fn node(&self, id: NodeId) -> Node {
        self.inner.borrow().nodes[id.index()].clone()
    }

    /// The handle of a node.
    pub fn var(&self, id: NodeId) -> Var<'_> {
        match self.inner.borrow().nodes.get(id.index()) {
            Some(node) => Var::new(self, id, node.meta),
            None => self.poison(),
        }
    }

    /// A snapshot of all nodes, in topological order.
    pub fn nodes(&self) -> Vec<Node> {
        self.inner.borrow().nodes.clone()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.inner.borrow().nodes.len()
    }

    /// The inputs, in order of declaration.
    pub fn inputs(&self) -> Vec<InputInfo> {
        self.inner.borrow().inputs.clone()
    }

    /// The parameters, in order of first use.
    pub fn params(&self) -> Vec<ParamInfo> {
        self.inner.borrow().params.clone()
    }

    /// The parameters as values, in the same order.
    pub fn param_vars(&self) -> Vec<Var<'_>> {
        let ids = self.inner.borrow().param_nodes.clone();
        ids.into_iter().map(|id| self.var(id)).collect()
    }

    /// The states, in order of first use.
    pub fn states(&self) -> Vec<StateInfo> {
        self.inner.borrow().states.clone()
    }

    /// The new values of states at the end of a training step: (state, value).
    pub fn updates(&self) -> Vec<(u32, NodeId)> {
        self.inner
            .borrow()
            .updates
            .iter()
            .map(|(&s, &v)| (s, v))
            .collect()
    }

    /// The layer paths that [`Node::path`] names; 0 is the top.
    pub fn paths(&self) -> Vec<String> {
        self.inner.borrow().paths.clone()
    }

    /// Runs `f` with every node recorded under this layer path and, for mistakes, this line.
    pub(crate) fn within<R>(
        &self,
        path: &str,
        location: Option<&'static Location<'static>>,
        f: impl FnOnce() -> R,
    ) -> R {
        let known = self.inner.borrow().paths.iter().position(|p| p == path);
        let index = known.unwrap_or_else(|| {
            let paths = &mut self.inner.borrow_mut().paths;
            paths.push(path.to_string());
            paths.len() - 1
        });
        self.within_path(count(index), location, f)
    }

    /// The same for a path that is known: what [`Node::path`] names.
    pub(crate) fn within_path<R>(
        &self,
        path: u32,
        location: Option<&'static Location<'static>>,
        f: impl FnOnce() -> R,
    ) -> R {
        let before = {
            let mut inner = self.inner.borrow_mut();
            let before = (inner.path, inner.location);
            inner.path = path;
            inner.location = location.or(before.1);
            before
        };
        let result = f();
        let mut inner = self.inner.borrow_mut();
        (inner.path, inner.location) = before;
        result
    }

    /// Runs `f` with every node recorded as this part of a step.
    pub(crate) fn within_part<R>(&self, part: Part, f: impl FnOnce() -> R) -> R {
        let before = std::mem::replace(&mut self.inner.borrow_mut().part, part);
        let result = f();
        self.inner.borrow_mut().part = before;
        result
    }

    /// Runs `f`, whose nodes are computed again by the backward pass instead of being kept for it.
    /// Within such a segment, or within a gradient, another one changes nothing.
    pub(crate) fn checkpoint<R>(&self, f: impl FnOnce() -> R) -> R {
        let part = {
            let mut inner = self.inner.borrow_mut();
            match inner.part {
                Part::Forward => {
                    inner.segments += 1;
                    Part::Checkpoint(inner.segments)
                }
                part => part,
            }
        };
        self.within_part(part, f)
    }

    /// A random stream for the next use under this path.
    pub(crate) fn next_stream(&self, path: &str) -> u64 {
        let mut inner = self.inner.borrow_mut();
        let ordinal = inner.streams.entry(path.to_string()).or_insert(0);
        *ordinal += 1;
        crate::philox::stream(path, *ordinal - 1)
    }

    #[track_caller]
    pub(crate) fn apply(&self, op: Op, inputs: &[Var<'_>]) -> Var<'_> {
        if inputs.iter().any(|v| v.is_poisoned()) {
            return self.poison();
        }
        if inputs.iter().any(|v| !std::ptr::eq(v.graph(), self)) {
            return self.fail(op.name(), "the inputs belong to different graphs".into());
        }
        let metas: Vec<Meta> = inputs.iter().map(Var::meta).collect();
        match op.infer(&metas) {
            Ok(meta) => self.push(op, inputs.iter().map(Var::id).collect(), meta),
            Err(message) => self.fail(op.name(), message),
        }
    }

    fn source(&self, op: Op, meta: Meta) -> Var<'_> {
        self.push(op, Vec::new(), meta)
    }

    pub(crate) fn push(&self, op: Op, inputs: Vec<NodeId>, meta: Meta) -> Var<'_> {
        let mut inner = self.inner.borrow_mut();
        let id = NodeId(count(inner.nodes.len()));
        let (path, part) = (inner.path, inner.part);
        inner.nodes.push(Node {
            op,
            inputs,
            meta,
            path,
            part,
        });
        Var::new(self, id, meta)
    }

    fn poison(&self) -> Var<'_> {
        Var::new(self, NodeId::POISON, Meta::new(Shape::SCALAR, DType::F32))
    }

    /// Records the first mistake and gives a poisoned handle.
    #[track_caller]
    pub fn fail(&self, op: &'static str, message: String) -> Var<'_> {
        let caller = Location::caller();
        let mut inner = self.inner.borrow_mut();
        if inner.error.is_none() {
            let layer = match inner.paths.get(inner.path as usize) {
                Some(path) if !path.is_empty() => path.clone(),
                _ => "model".to_string(),
            };
            let location = inner.location.unwrap_or(caller);
            inner.error = Some(BuildError {
                op,
                layer,
                location,
                message,
            });
        }
        drop(inner);
        self.poison()
    }

    #[track_caller]
    pub(crate) fn shape(&self, op: &'static str, shape: impl IntoShape) -> Option<Shape> {
        let dims = shape.dims();
        let shape = Shape::try_new(&dims);
        if shape.is_none() {
            self.fail(
                op,
                format!("{dims:?} has more than 8 axes or too many elements"),
            );
        }
        shape
    }
}

/// Counts of nodes and leaves fit 32 bits: memory ends long before.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
