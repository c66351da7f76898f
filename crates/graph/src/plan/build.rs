//! From a traced graph to a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::cluster::{Clusters, is_memory, strip};
use super::kernel::{Fragment, Kernel, KernelKind, MatMulKernel, Matrix, Operand, ScatterKernel};
use super::lower::{Lowering, collapse, fragment};
use super::slab::{SlabError, SlabLayout};
use super::{
    Bill, Buffer, BufferId, IndexSite, Input, Plan, Readback, Role, Value, ValueId, bill, memory,
    readback, schedule, update,
};
use crate::ops::{Meta, Op};
use crate::passes::{self, Ir};
use crate::{BuildError, DType, Graph, Node, NodeId, Optimizer, Shape, Target, Var};

/// What a plan is to compute.
#[derive(Debug)]
pub struct Request<'a, 'g> {
    /// What it is for: `train`, `evaluate`, `predict`…
    pub name: &'a str,
    /// The traced graph.
    pub graph: &'g Graph,
    /// Named results to be read after a step.
    pub outputs: Vec<(String, Var<'g>)>,
    /// Scalars that every step reports. `scale · Σ vector` costs no kernel.
    pub readbacks: Vec<(String, Var<'g>)>,
    /// The gradient of each parameter of the slabs, in their order; empty if nothing is trained.
    pub gradients: Vec<Var<'g>>,
    /// How parameters change; only with gradients.
    pub optimizer: Option<&'a dyn Optimizer>,
    /// The largest norm of all gradients together; only with an optimizer.
    pub clip_norm: Option<f64>,
    /// Samples of a data set that lies on the device; the step takes its batch from it.
    pub resident: Option<usize>,
    /// Where parameters lie: the same for all plans of a model.
    pub slabs: SlabLayout,
    /// The device.
    pub target: &'a Target,
}

/// Why a plan cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The graph has a mistake.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A parameter is too large for the device.
    #[error(transparent)]
    Slab(#[from] SlabError),
    /// A tensor is too large for the device.
    #[error(
        "`{name}` has {bytes} bytes, but {target} binds at most {limit}; use a smaller batch or \
         layer, or a device with larger storage bindings"
    )]
    TooLarge {
        /// The tensor.
        name: String,
        /// Its size.
        bytes: u64,
        /// The device.
        target: String,
        /// The largest binding.
        limit: u64,
    },
    /// A kernel needs more tensors than the device binds.
    #[error("kernel `{label}` needs {found} storage bindings, but {target} has {limit}")]
    Bindings {
        /// The kernel.
        label: String,
        /// What it needs.
        found: usize,
        /// The device.
        target: String,
        /// What there are.
        limit: usize,
    },
    /// The request contradicts itself.
    #[error("{0}")]
    Request(String),
}

/// Where a wanted node's elements go.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Destination {
    Output(String),
    Ring(String, f64),
    Grad(usize),
    State(u32),
    /// A value that has its place.
    Value(ValueId),
}

/// Makes the plan of a step.
///
/// # Errors
/// If the graph has a mistake, or something in it is too large for the target.
pub fn lower(request: &Request<'_, '_>) -> Result<Plan, PlanError> {
    let graph = request.graph;
    let mut wanted: Vec<(NodeId, Destination)> = Vec::new();
    for (name, var) in &request.readbacks {
        let (vector, scale) = readback::vector(*var);
        wanted.push((vector.id(), Destination::Ring(name.clone(), scale)));
    }
    for (i, dx) in request.gradients.iter().enumerate() {
        wanted.push((dx.id(), Destination::Grad(i)));
    }
    for (name, var) in &request.outputs {
        wanted.push((var.id(), Destination::Output(name.clone())));
    }
    for (state, value) in graph.updates() {
        wanted.push((value, Destination::State(state)));
    }
    graph.check()?;
    if wanted.iter().any(|(id, _)| *id == NodeId::POISON) {
        return Err(PlanError::Request(
            "a wanted value belongs to no graph".into(),
        ));
    }
    if request.optimizer.is_some() && request.gradients.len() != request.slabs.segments.len() {
        return Err(PlanError::Request(format!(
            "an optimizer needs the gradient of each of {} parameters, found {}",
            request.slabs.segments.len(),
            request.gradients.len()
        )));
    }
    let roots = wanted.iter().map(|(id, _)| *id).collect();
    let mut ir = passes::run(Ir::of(graph, roots), request.target);
    copy_wanted_leaves(&mut ir);
    let mut builder = Builder::new(request);
    builder.leaves(graph);
    let destinations = wanted.into_iter().map(|(_, d)| d).collect();
    let clusters = Clusters::new(&ir, request.target);
    let late = builder.kernels(&ir, &clusters, destinations);
    schedule::order(&mut builder.plan);
    if let Some(optimizer) = request.optimizer {
        update::append(&mut builder, optimizer, request.clip_norm)?;
    }
    for (value, state) in late {
        builder.copy(value, state);
    }
    builder.finish()
}

/// A leaf that is wanted elsewhere must be copied there.
fn copy_wanted_leaves(ir: &mut Ir) {
    for i in 0..ir.roots.len() {
        let base = strip(ir, ir.roots[i]);
        if is_memory(&ir.node(base).op) {
            let copy = Node {
                op: Op::StopGradient,
                inputs: vec![base],
                ..ir.node(base).clone()
            };
            ir.nodes.push(copy);
            ir.roots[i] = NodeId(u32::try_from(ir.nodes.len() - 1).unwrap_or(u32::MAX));
        }
    }
}

/// A plan in the making.
pub(super) struct Builder {
    pub(super) plan: Plan,
    /// The value that other kernels read for each node of the graph being lowered.
    values: BTreeMap<NodeId, ValueId>,
    leaf_values: BTreeMap<(u8, u32), ValueId>,
    pub(super) state_values: BTreeMap<u32, ValueId>,
}

/// The buffer of values that have no place yet.
pub(super) const UNPLACED: BufferId = BufferId(u32::MAX);

impl Builder {
    fn new(request: &Request<'_, '_>) -> Self {
        let plan = Plan {
            name: request.name.to_string(),
            target: request.target.clone(),
            kernels: Vec::new(),
            values: Vec::new(),
            buffers: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            readbacks: Vec::new(),
            ring_row: 0,
            sites: Vec::new(),
            literals: Vec::new(),
            slabs: request.slabs.clone(),
            bill: Bill::default(),
            resident: request.resident,
        };
        Self {
            plan,
            values: BTreeMap::new(),
            leaf_values: BTreeMap::new(),
            state_values: BTreeMap::new(),
        }
    }

    /// The buffer of a role, made at first use.
    pub(super) fn buffer(&mut self, role: Role) -> BufferId {
        let known = self.plan.buffers.iter().position(|b| b.role == role);
        let index = known.unwrap_or_else(|| {
            self.plan.buffers.push(Buffer { role, bytes: 0 });
            self.plan.buffers.len() - 1
        });
        BufferId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn value(
        &mut self,
        name: String,
        meta: Meta,
        buffer: BufferId,
        offset: u64,
    ) -> ValueId {
        if let Some(b) = self.plan.buffers.get_mut(buffer.index()) {
            b.bytes = b
                .bytes
                .max((offset + meta.bytes() as u64).next_multiple_of(16));
        }
        self.plan.values.push(Value {
            name,
            meta,
            buffer,
            offset,
        });
        ValueId(u32::try_from(self.plan.values.len() - 1).unwrap_or(u32::MAX))
    }

    /// A value at the end of a role's buffer.
    fn appended(&mut self, name: String, meta: Meta, role: Role) -> ValueId {
        let buffer = self.buffer(role);
        let used = self.plan.buffers.get(buffer.index()).map_or(0, |b| b.bytes);
        self.value(name, meta, buffer, used.next_multiple_of(256))
    }

    /// Values of inputs, parameters, states.
    fn leaves(&mut self, graph: &Graph) {
        let resident = self.plan.resident;
        for (i, info) in graph.inputs().into_iter().enumerate() {
            let number = u32::try_from(i).unwrap_or(u32::MAX);
            let (value, from) = match resident {
                None => (
                    self.appended(info.name.clone(), info.meta, Role::Upload),
                    None,
                ),
                Some(samples) => {
                    let mut dims = info.meta.shape.to_vec();
                    if let Some(first) = dims.first_mut() {
                        *first = samples;
                    }
                    let meta = Meta::new(Shape::of(&dims), info.meta.dtype);
                    let from =
                        self.appended(format!("data.{}", info.name), meta, Role::Resident(i));
                    (
                        self.value(info.name.clone(), info.meta, UNPLACED, 0),
                        Some(from),
                    )
                }
            };
            self.leaf_values.insert((0, number), value);
            self.plan.inputs.push(Input {
                info,
                value,
                resident: from,
            });
        }
        for (i, param) in graph.params().into_iter().enumerate() {
            let Some(segment) = self.plan.slabs.find(&param.name).cloned() else {
                continue;
            };
            let buffer = self.buffer(Role::Params(segment.shard));
            let meta = Meta::new(param.shape, DType::F32);
            let value = self.value(param.name, meta, buffer, segment.offset * 4);
            self.leaf_values
                .insert((1, u32::try_from(i).unwrap_or(u32::MAX)), value);
        }
        for (i, state) in graph.states().into_iter().enumerate() {
            let number = u32::try_from(i).unwrap_or(u32::MAX);
            let value = self.appended(state.name, state.meta, Role::States);
            self.leaf_values.insert((2, number), value);
            self.state_values.insert(number, value);
        }
        if let Some(samples) = resident {
            self.take(samples);
        }
    }

    /// The kernel that takes the batch from a resident data set.
    fn take(&mut self, samples: usize) {
        let meta = Meta::new(Shape::of(&[samples]), DType::U32);
        let order = self.appended("data.order".into(), meta, Role::Order);
        let mut operands = vec![reading(order)];
        let mut arrays = Vec::new();
        let mut count = 0;
        for input in &self.plan.inputs {
            let Some(from) = input.resident else { continue };
            let shape = input.info.meta.shape;
            count = shape.first().copied().unwrap_or(0);
            let words = shape.iter().skip(1).product();
            operands.extend([reading(from), writing(input.value)]);
            arrays.push((operands.len() - 2, operands.len() - 1, words));
        }
        let kind = KernelKind::Take(super::TakeKernel {
            order: 0,
            count,
            samples,
            arrays,
        });
        self.push("data/take".into(), kind, operands, Fragment::default(), 0);
    }

    pub(super) fn push(
        &mut self,
        label: String,
        kind: KernelKind,
        operands: Vec<Operand>,
        meaning: Fragment,
        flops: u64,
    ) {
        let bindings = Vec::new();
        let kernel = Kernel {
            label,
            kind,
            operands,
            bindings,
            errors: None,
            meaning,
            flops,
        };
        self.plan.kernels.push(kernel);
    }

    /// Copies a value to another of as many elements: a state's new value to the state.
    fn copy(&mut self, from: ValueId, to: ValueId) {
        let Some(value) = self.plan.values.get(from.index()) else {
            return;
        };
        let meta = value.meta;
        let index = crate::Index::axis(0);
        let program = crate::Program {
            axes: vec![meta.shape.numel()],
            kept: 1,
            exprs: vec![crate::Expr::Load {
                operand: 0,
                index: index.clone(),
                guard: None,
            }],
            dtypes: vec![meta.dtype],
            stores: vec![crate::Store {
                operand: 1,
                index,
                value: crate::ExprId(0),
            }],
        };
        let leaf = Node {
            op: Op::Input(0),
            inputs: Vec::new(),
            meta,
            path: 0,
        };
        let meaning = Fragment {
            nodes: vec![leaf],
            inputs: vec![from],
            outputs: vec![(to, NodeId(0))],
        };
        let label = format!("{}/update", self.plan.values[to.index()].name);
        let kind = KernelKind::Program(program);
        self.push(label, kind, vec![reading(from), writing(to)], meaning, 0);
    }

    /// The value that a loaded node is.
    fn loaded(&mut self, ir: &Ir, id: NodeId) -> ValueId {
        let node = ir.node(id);
        let leaf = match &node.op {
            Op::Input(i) => self.leaf_values.get(&(0, *i)),
            Op::Param(i) => self.leaf_values.get(&(1, *i)),
            Op::State(i) => self.leaf_values.get(&(2, *i)),
            _ => None,
        };
        if let Some(&value) = leaf {
            return value;
        }
        if let Some(&value) = self.values.get(&id) {
            return value;
        }
        if let Op::Literal(array) = &node.op {
            let value = self.appended("literal".into(), node.meta, Role::Literals);
            self.plan.literals.push((value, Arc::clone(array)));
            self.values.insert(id, value);
            return value;
        }
        let value = self.value(name_of(ir, id), node.meta, UNPLACED, 0);
        self.values.insert(id, value);
        value
    }

    /// One kernel for another graph whose inputs are these values; `outputs` are stored there.
    pub(super) fn lower_graph(
        &mut self,
        graph: &Graph,
        inputs: &[ValueId],
        outputs: &[(Var<'_>, ValueId)],
        label: &str,
    ) -> Result<(), PlanError> {
        graph.check()?;
        let roots = outputs.iter().map(|(var, _)| var.id()).collect();
        let mut ir = passes::run(Ir::of(graph, roots), &self.plan.target);
        copy_wanted_leaves(&mut ir);
        let leaves = (0u32..).zip(inputs).map(|(i, &v)| ((0, i), v)).collect();
        let leaves = std::mem::replace(&mut self.leaf_values, leaves);
        let values = std::mem::take(&mut self.values);
        let before = self.plan.kernels.len();
        // Results take the place of inputs, so there are fewer bindings than operands.
        let roomy = Target {
            max_bindings: usize::MAX,
            ..self.plan.target.clone()
        };
        let clusters = Clusters::new(&ir, &roomy);
        self.kernels(
            &ir,
            &clusters,
            outputs
                .iter()
                .map(|&(_, v)| Destination::Value(v))
                .collect(),
        );
        self.leaf_values = leaves;
        self.values = values;
        match self.plan.kernels.get_mut(before..) {
            Some([kernel]) => {
                kernel.label = label.to_string();
                Ok(())
            }
            // Two kernels would read what the other has already replaced.
            _ => Err(PlanError::Request(format!(
                "{label}: not a pointwise expression"
            ))),
        }
    }

    /// Kernels for all clusters; returns states with the values that are to be copied to them.
    fn kernels(
        &mut self,
        ir: &Ir,
        clusters: &Clusters<'_>,
        destinations: Vec<Destination>,
    ) -> Vec<(ValueId, ValueId)> {
        let mut stores: BTreeMap<NodeId, Vec<ValueId>> = BTreeMap::new();
        let mut late = Vec::new();
        for (destination, &root) in destinations.into_iter().zip(&ir.roots) {
            let base = strip(ir, root);
            let meta = ir.node(root).meta;
            let value = match destination {
                Destination::Grad(i) => {
                    let Some(segment) = self.plan.slabs.segments.get(i).cloned() else {
                        continue;
                    };
                    let buffer = self.buffer(Role::Grads(segment.shard));
                    let name = format!("grad.{}", segment.name);
                    self.value(name, meta, buffer, segment.offset * 4)
                }
                Destination::Output(name) => {
                    let value = self.appended(name.clone(), meta, Role::Outputs);
                    self.plan.outputs.push((name, value));
                    value
                }
                Destination::Ring(name, scale) => {
                    let value = self.appended(name.clone(), meta, Role::Ring);
                    self.plan.readbacks.push(Readback { name, value, scale });
                    stores.entry(base).or_default().push(value);
                    continue;
                }
                Destination::Value(value) => value,
                Destination::State(state) => {
                    let value = self.loaded(ir, base);
                    stores.entry(base).or_default();
                    if let Some(&to) = self.state_values.get(&state) {
                        late.push((value, to));
                    }
                    continue;
                }
            };
            stores.entry(base).or_default().push(value);
            // Other kernels may read it there: no copy of its own is needed.
            self.values.entry(base).or_insert(value);
        }
        for k in 0..clusters.list.len() {
            self.cluster_kernel(ir, clusters, k, &stores);
        }
        if let Some(ring) = self.plan.buffers.iter().find(|b| b.role == Role::Ring) {
            self.plan.ring_row = usize::try_from(ring.bytes / 4).unwrap_or(0);
        }
        late
    }

    fn cluster_kernel(
        &mut self,
        ir: &Ir,
        clusters: &Clusters<'_>,
        k: usize,
        stores: &BTreeMap<NodeId, Vec<ValueId>>,
    ) {
        let cluster = &clusters.list[k];
        let mut written: Vec<(ValueId, NodeId)> = Vec::new();
        for &id in cluster
            .nodes
            .iter()
            .filter(|id| clusters.stored.contains(id))
        {
            written.extend(
                self.places(ir, clusters, id, stores)
                    .into_iter()
                    .map(|v| (v, id)),
            );
        }
        let row_sum = cluster
            .row_sum
            .filter(|id| clusters.stored.contains(id))
            .map(|id| {
                let mut places = self.places(ir, clusters, id, stores);
                (places.remove(0), id, places)
            });
        if written.is_empty() && row_sum.is_none() {
            return;
        }
        let mut wanted = written.clone();
        wanted.extend(row_sum.iter().map(|(v, id, _)| (*v, *id)));
        let label = label(
            ir,
            cluster.nodes.iter().copied(),
            wanted.last().map(|w| w.1),
        );
        let mut lowering = Lowering::new(ir, clusters, k, self.plan.sites.len());
        let scatter = cluster
            .nodes
            .iter()
            .copied()
            .find(|&n| matches!(ir.node(n).op, Op::ScatterAdd(_)));
        let (mut kind, loads, flops) = if let Some(id) = scatter {
            let node = ir.node(id);
            let [x, index] = [strip(ir, node.inputs[0]), strip(ir, node.inputs[1])];
            let count = ir.node(index).meta.shape.numel();
            let rows = node.meta.shape[0];
            let width = node.meta.shape[1..].iter().product();
            let kernel = ScatterKernel {
                x: 0,
                index: 1,
                out: 2,
                count,
                rows,
                width,
            };
            (
                KernelKind::ScatterAdd(kernel),
                vec![x, index],
                (count * width) as u64,
            )
        } else if let Some(product) = cluster.matmul {
            let (a, b) = self.product_operands(ir, product, &mut lowering);
            for (i, (_, id)) in written.iter().enumerate() {
                lowering.store(*id, STORES + i);
            }
            let shape = ir.node(product).meta.shape;
            let rank = shape.rank();
            let (m, n) = (shape[rank - 2], shape[rank - 1]);
            let batch: usize = shape[..rank - 2].iter().product();
            let kdim = inner(ir, product);
            let row_sum_operand = row_sum.as_ref().map(|_| STORES + written.len());
            self.sites(ir, &lowering);
            let loads = lowering.loads.clone();
            let epilogue = lowering.finish();
            let flops = 2 * (batch * m * n * kdim) as u64
                + work(&epilogue)
                + row_sum.as_ref().map_or(0, |_| (m * kdim) as u64);
            let kernel = MatMulKernel {
                batch,
                m,
                n,
                k: kdim,
                a,
                b,
                row_sum: row_sum_operand,
                epilogue,
            };
            (KernelKind::MatMul(kernel), loads, flops)
        } else {
            for (i, (_, id)) in written.iter().enumerate() {
                lowering.store(*id, STORES + i);
            }
            self.sites(ir, &lowering);
            let loads = lowering.loads.clone();
            let mut program = lowering.finish();
            collapse(&mut program);
            let flops = work(&program);
            (KernelKind::Program(program), loads, flops)
        };
        let mut operands: Vec<Operand> = loads
            .iter()
            .map(|&id| reading(self.loaded(ir, id)))
            .collect();
        let base = operands.len();
        operands.extend(wanted.iter().map(|(v, _)| writing(*v)));
        renumber(&mut kind, base);
        let values: BTreeMap<NodeId, ValueId> =
            loads.iter().map(|&id| (id, self.loaded(ir, id))).collect();
        // Operands that no expression loads are leaves of the meaning too.
        let is_loaded = |id: NodeId| loads.contains(&id) || clusters.is_loaded(id, k);
        let meaning = fragment(ir, &wanted, &is_loaded, &|id| values.get(&id).copied());
        self.push(label, kind, operands, meaning, flops);
        if let Some((value, _, places)) = row_sum {
            places.into_iter().for_each(|place| self.copy(value, place));
        }
    }

    /// Where a stored node is written: what is wanted of it, and what other kernels load.
    fn places(
        &mut self,
        ir: &Ir,
        clusters: &Clusters<'_>,
        id: NodeId,
        stores: &BTreeMap<NodeId, Vec<ValueId>>,
    ) -> Vec<ValueId> {
        let mut places = stores.get(&id).cloned().unwrap_or_default();
        let read = clusters.loaded.contains(&id) || self.values.contains_key(&id);
        if read || places.is_empty() {
            let own = self.loaded(ir, id);
            if !places.contains(&own) {
                places.push(own);
            }
        }
        places
    }

    fn sites(&mut self, ir: &Ir, lowering: &Lowering<'_>) {
        for (id, bound) in &lowering.checks {
            let layer = match ir.path(*id) {
                "" => "model".to_string(),
                path => path.to_string(),
            };
            self.plan.sites.push(IndexSite {
                layer,
                bound: *bound,
            });
        }
    }

    fn product_operands(
        &mut self,
        ir: &Ir,
        product: NodeId,
        lowering: &mut Lowering<'_>,
    ) -> (Matrix, Matrix) {
        let node = ir.node(product);
        let (ta, tb) = match &node.op {
            Op::MatMul(m) => (m.trans_a, m.trans_b),
            _ => (false, false),
        };
        let mut side = |x: NodeId, transposed: bool| {
            let shape = ir.node(x).meta.shape;
            let rank = shape.rank();
            let (rows, cols) = (shape[rank - 2], shape[rank - 1]);
            match super::operand::matrix(ir, x) {
                Some(m) => Matrix {
                    operand: lowering.load(m.base),
                    transposed: transposed != m.swapped,
                    offset: m.offset,
                    row_stride: m.row_stride,
                    batch_stride: m.batch_stride,
                },
                None => Matrix {
                    operand: lowering.load(x),
                    transposed,
                    offset: 0,
                    row_stride: cols,
                    batch_stride: rows * cols,
                },
            }
        };
        (side(node.inputs[0], ta), side(node.inputs[1], tb))
    }

    fn finish(mut self) -> Result<Plan, PlanError> {
        if !self.plan.sites.is_empty() {
            let errors = self.buffer(Role::Errors);
            let bytes = (self.plan.sites.len() as u64 * 4).next_multiple_of(16);
            if let Some(b) = self.plan.buffers.get_mut(errors.index()) {
                b.bytes = bytes;
            }
        }
        for (shard, elements) in self.plan.slabs.shards.clone().into_iter().enumerate() {
            for role in [Role::Params(shard), Role::Grads(shard)] {
                if let Some(b) = self.plan.buffers.iter_mut().find(|b| b.role == role) {
                    b.bytes = elements * 4;
                }
            }
        }
        // Nothing is computed where there are no elements.
        let values = &self.plan.values;
        self.plan.kernels.retain(|k| {
            k.writes().any(|v| {
                values
                    .get(v.index())
                    .is_some_and(|v| v.meta.shape.numel() > 0)
            })
        });
        let bounds = memory::place(&mut self.plan);
        super::bind::bind(&mut self.plan)?;
        self.plan.bill = bill::bill(&self.plan, bounds);
        Ok(self.plan)
    }
}

/// Number that store operands have until all loads are known.
const STORES: usize = 1 << 20;

fn renumber(kind: &mut KernelKind, base: usize) {
    let program = match kind {
        KernelKind::Program(p) => p,
        KernelKind::MatMul(m) => {
            if let Some(sum) = &mut m.row_sum {
                *sum = *sum - STORES + base;
            }
            &mut m.epilogue
        }
        KernelKind::ScatterAdd(_) | KernelKind::Take(_) => return,
    };
    for store in &mut program.stores {
        store.operand = store.operand - STORES + base;
    }
}

pub(super) const fn reading(value: ValueId) -> Operand {
    Operand {
        reads: Some(value),
        writes: None,
        binding: 0,
        base: 0,
    }
}

pub(super) const fn writing(value: ValueId) -> Operand {
    Operand {
        reads: None,
        writes: Some(value),
        binding: 0,
        base: 0,
    }
}

/// Terms of a product.
fn inner(ir: &Ir, product: NodeId) -> usize {
    let node = ir.node(product);
    let a = ir.node(node.inputs[0]).meta.shape;
    let transposed = matches!(&node.op, Op::MatMul(m) if m.trans_a);
    a[a.rank() - if transposed { 2 } else { 1 }]
}

/// Floating-point operations of a program.
fn work(program: &crate::Program) -> u64 {
    let full = program.full();
    let (rows, cols) = (program.rows() as u64, program.cols() as u64);
    let arithmetic = |e: &crate::Expr| {
        matches!(
            e,
            crate::Expr::Unary(..)
                | crate::Expr::Binary(..)
                | crate::Expr::Select(..)
                | crate::Expr::Reduce(..)
                | crate::Expr::ArgReduce(..)
        )
    };
    let cost = |(e, full): (&crate::Expr, &bool)| match e {
        e if !arithmetic(e) => 0,
        e if e.is_reduction() || *full => rows * cols,
        _ => rows,
    };
    program.exprs.iter().zip(&full).map(cost).sum()
}

fn name_of(ir: &Ir, id: NodeId) -> String {
    let path = ir.path(id);
    let op = ir.node(id).op.name();
    if path.is_empty() {
        op.to_string()
    } else {
        format!("{path}.{op}")
    }
}

/// The layer of the last result and the ops that matter, in order.
fn label(ir: &Ir, nodes: impl Iterator<Item = NodeId>, last: Option<NodeId>) -> String {
    let mut ops: Vec<&str> = Vec::new();
    for node in nodes.map(|n| ir.node(n)) {
        let name = node.op.name();
        if !node.op.is_view() && ops.last() != Some(&name) {
            ops.push(name);
        }
    }
    if ops.len() > 5 {
        let rest = format!("{}…", ops[..4].join("+"));
        return join_label(last.map_or("", |l| ir.path(l)), &rest);
    }
    join_label(last.map_or("", |l| ir.path(l)), &ops.join("+"))
}

fn join_label(path: &str, ops: &str) -> String {
    let ops = if ops.is_empty() { "copy" } else { ops };
    if path.is_empty() {
        ops.to_string()
    } else {
        format!("{path}/{ops}")
    }
}
