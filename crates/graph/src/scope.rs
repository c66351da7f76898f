//! `Scope`: where a layer finds its parameters, state and random streams.

use std::panic::Location;
use std::rc::Rc;

use crate::{DType, Decoding, Graph, Init, IntoShape, Scalar, Var, ops};

/// A place in the tree of layers. Its path names parameters and states as PyTorch would:
/// `layers.0.attn.weight`.
#[derive(Clone, Debug)]
pub struct Scope<'g> {
    graph: &'g Graph,
    path: String,
    training: bool,
    decoding: Option<Rc<Decoding<'g>>>,
}

/// A function from `Var` to `Var` with parameters. A plain struct of settings.
pub trait Layer: Send + Sync {
    /// Applies the layer to `x`. The parameters are those of `scope`.
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g>;
}

impl<'g> Scope<'g> {
    /// The top of the tree.
    pub fn root(graph: &'g Graph, training: bool) -> Self {
        Self {
            graph,
            path: String::new(),
            training,
            decoding: None,
        }
    }

    /// The top of the tree, where sequences are continued token by token.
    pub fn decode(graph: &'g Graph, decoding: Decoding<'g>) -> Self {
        Self {
            decoding: Some(Rc::new(decoding)),
            ..Self::root(graph, false)
        }
    }

    /// The graph that layers add to.
    pub const fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// True while tracing a training step; false for evaluation and prediction.
    pub const fn training(&self) -> bool {
        self.training
    }

    /// How `x` is continued, if it depends on tokens that are decoded: a layer in which positions
    /// meet then has to keep what it needs of the earlier ones. `None` wherever `x` is there as a
    /// whole: in training, evaluation and prediction, and for what an encoder makes of another
    /// sequence.
    pub fn decoding(&self, x: Var<'g>) -> Option<&Decoding<'g>> {
        let decoding = self.decoding.as_deref()?;
        decoding.reaches(x).then_some(decoding)
    }

    /// What a layer keeps between steps that decode: new at every call, and undefined in the first
    /// step. [`Decoding::keep`] gives it a value.
    #[track_caller]
    pub fn cache(&self, name: &str, shape: impl IntoShape, dtype: DType) -> Var<'g> {
        self.graph.cache(&self.join(name), shape, dtype)
    }

    /// The path, empty at the top.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of a name under this scope.
    fn join(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The scope of a part of this layer.
    pub fn child(&self, name: &str) -> Self {
        Self {
            graph: self.graph,
            path: self.join(name),
            training: self.training,
            decoding: self.decoding.clone(),
        }
    }

    /// Applies a layer under a child scope. Mistakes inside name that path, and the line of the
    /// caller.
    #[track_caller]
    pub fn apply(&self, name: &str, layer: &(impl Layer + ?Sized), x: Var<'g>) -> Var<'g> {
        self.apply_at(name, Location::caller(), layer, x)
    }

    /// As [`Scope::apply`], naming another line in mistakes: the one where the layer was
    /// declared.
    pub fn apply_at(
        &self,
        name: &str,
        location: &'static Location<'static>,
        layer: &(impl Layer + ?Sized),
        x: Var<'g>,
    ) -> Var<'g> {
        let scope = self.child(name);
        self.graph
            .within(&scope.path, Some(location), || layer.forward(&scope, x))
    }

    /// The parameter of this name, made at first use and shared afterwards.
    #[track_caller]
    pub fn param(&self, name: &str, shape: impl IntoShape, init: impl Init + 'static) -> Var<'g> {
        self.graph.param(&self.join(name), shape, init)
    }

    /// A value kept between steps: made at first use as `init` everywhere.
    #[track_caller]
    pub fn state(
        &self,
        name: &str,
        shape: impl IntoShape,
        dtype: DType,
        init: impl Into<Scalar>,
    ) -> Var<'g> {
        self.graph.state(&self.join(name), shape, dtype, init)
    }

    /// Gives a state a new value at the end of a training step; does nothing otherwise.
    #[track_caller]
    pub fn update(&self, state: Var<'g>, value: Var<'g>) {
        if self.training {
            self.graph.update(state, value);
        }
    }

    /// The value that a state has been given so far in this step, or the old one: what a layer
    /// that is applied several times goes on from.
    pub fn latest(&self, state: Var<'g>) -> Var<'g> {
        self.graph.latest(state)
    }

    /// A stream of random bits of its own: the hash of this path and of how often it was asked
    /// before, so that other layers do not change it.
    pub fn stream(&self) -> u64 {
        self.graph.next_stream(&self.path)
    }

    /// Random bits (`u32`), new at every step, from a stream of their own.
    #[track_caller]
    pub fn random(&self, shape: impl IntoShape) -> Var<'g> {
        self.graph.random(shape, self.stream())
    }

    /// Uniform numbers in `[0, 1)` with 24 bits, new at every step.
    #[track_caller]
    pub fn uniform(&self, shape: impl IntoShape) -> Var<'g> {
        (self.random(shape) >> 8u32).cast(DType::F32) * (-24f64).exp2()
    }

    /// What `f` makes, of which the backward pass computes again what it needs instead of reading
    /// it: nothing that lies within takes memory between the two passes, only what `f` reads and
    /// gives (activation checkpointing, also called rematerialization). Masks of dropout are the
    /// same; results may differ by rounding, since kernels are fused otherwise. Changes nothing
    /// where there is no backward pass; a checkpoint within another one adds nothing to it.
    ///
    /// Chen et al. (2016), arXiv:1604.06174.
    pub fn checkpoint<T>(&self, f: impl FnOnce() -> T) -> T {
        self.graph.checkpoint(f)
    }

    /// While training, zeros elements with probability `rate` in `[0, 1)` and scales the others
    /// by `1 / (1 − rate)`; otherwise the identity.
    #[track_caller]
    pub fn dropout(&self, x: Var<'g>, rate: f64) -> Var<'g> {
        if !(0.0..1.0).contains(&rate) {
            let message = format!("rate must be at least 0 and below 1, found {rate}");
            return self.graph.fail("dropout", message);
        }
        if !self.training || rate == 0.0 || x.is_poisoned() {
            return x;
        }
        ops::dropout(self.graph, self.stream(), x, rate)
    }
}
