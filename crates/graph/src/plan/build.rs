//! From a traced graph to a plan.

use thiserror::Error;

use super::builder::Builder;
use super::cluster::{Clusters, is_memory, strip};
use super::home::Homes;
use super::slab::{SlabError, SlabLayout};
use super::{Plan, ValueId, readback, recompute, schedule, sparse, update};
use crate::ops::{Concat, Meta, Op, Slice};
use crate::passes::{self, Ir, large};
use crate::{BuildError, Graph, Node, NodeId, Optimizer, Target, Var};

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
    /// The gradient of each parameter of the slabs, in their order; `None` for those that the
    /// step does not train. Empty if nothing is trained.
    pub gradients: Vec<Option<Var<'g>>>,
    /// How parameters change; only with gradients.
    pub optimizer: Option<&'a dyn Optimizer>,
    /// The largest norm of all gradients together; only with an optimizer.
    pub clip_norm: Option<f64>,
    /// The number of the optimizer's first state vector. Steps that train the same parameters
    /// have states of different numbers.
    pub first_state: usize,
    /// Samples of a data set that lies on the device; the step takes its batch from it.
    pub resident: Option<usize>,
    /// Where parameters lie: the same for all plans of a model.
    pub slabs: SlabLayout,
    /// The most bytes that the step may take, all that its [`Bill`](super::Bill) counts: to stay
    /// below it, the backward pass computes values of the forward pass again.
    pub memory_limit: Option<u64>,
    /// The device.
    pub target: &'a Target,
}

impl<'a, 'g> Request<'a, 'g> {
    /// A plan that computes nothing yet of `graph`, whose parameters lie as `slabs` says.
    pub const fn new(
        name: &'a str,
        graph: &'g Graph,
        slabs: SlabLayout,
        target: &'a Target,
    ) -> Self {
        Self {
            name,
            graph,
            outputs: Vec::new(),
            readbacks: Vec::new(),
            gradients: Vec::new(),
            optimizer: None,
            clip_norm: None,
            first_state: 0,
            resident: None,
            slabs,
            memory_limit: None,
            target,
        }
    }
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
    /// A step takes more memory than it may.
    #[error(
        "step `{name}` does not fit its memory limit of {limit} bytes: the smallest plan that was \
         found takes {least}, of which {slabs} for parameters, gradients and states, {other} for \
         inputs, outputs and constants, and {transient} for values between kernels; take a smaller batch, store bfloat16, or raise the limit"
    )]
    Memory {
        /// The step.
        name: String,
        /// What it may take.
        limit: u64,
        /// The least that was found: with this limit there is a plan.
        least: u64,
        /// Of these, parameters, gradients and states.
        slabs: u64,
        /// Inputs, outputs and constants.
        other: u64,
        /// What lies between kernels.
        transient: u64,
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
    /// The gradient of a parameter, from this element on.
    Grad(usize, u64),
    /// What a parameter's gradient is looked up in: where each row's sum is, and the sums.
    First(usize),
    Sums(usize),
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
    let scores = wanted.len();
    for (name, var) in &request.outputs {
        wanted.push((var.id(), Destination::Output(name.clone())));
    }
    for (state, value) in graph.updates() {
        wanted.push((value, Destination::State(state)));
    }
    graph.check()?;
    let gradients = gradients(request, &wanted);
    wanted.splice(scores..scores, gradients);
    if wanted.iter().any(|(id, _)| *id == NodeId::POISON) {
        return Err(PlanError::Request(
            "a wanted value belongs to no graph".into(),
        ));
    }
    if request.optimizer.is_some() && request.gradients.len() != request.slabs.segments.len() {
        return Err(PlanError::Request(format!(
            "an optimizer needs a place for the gradient of each of {} parameters, found {}",
            request.slabs.segments.len(),
            request.gradients.len()
        )));
    }
    let roots = wanted.iter().map(|(id, _)| *id).collect();
    let mut ir = passes::run(Ir::of(graph, roots), request.target);
    let destinations: Vec<Destination> = wanted.into_iter().map(|(_, d)| d).collect();
    let destinations = cut_gradients(&mut ir, destinations, request.target);
    copy_wanted_leaves(&mut ir);
    recompute::lower(ir, |ir| finish(request, ir, &destinations), request)
}

/// The gradients of the request, or what they are looked up in.
fn gradients(
    request: &Request<'_, '_>,
    others: &[(NodeId, Destination)],
) -> Vec<(NodeId, Destination)> {
    let own = request.gradients.iter().flatten().map(Var::id);
    let all: Vec<NodeId> = others.iter().map(|(id, _)| *id).chain(own).collect();
    let each = request.gradients.iter().zip(sparse::lookups(request, &all));
    let wanted = each
        .enumerate()
        .map(|(i, (dx, lookup))| match (dx, lookup) {
            (_, Some(lookup)) => vec![
                (lookup.first.id(), Destination::First(i)),
                (lookup.sums.id(), Destination::Sums(i)),
            ],
            (Some(dx), None) => vec![(dx.id(), Destination::Grad(i, 0))],
            (None, None) => Vec::new(),
        });
    wanted.flatten().collect()
}

/// The plan of a step whose nodes are settled.
fn finish(
    request: &Request<'_, '_>,
    ir: &Ir,
    destinations: &[Destination],
) -> Result<Plan, PlanError> {
    let mut builder = Builder::new(request);
    builder.leaves(request.graph);
    let homes = Homes::new(request, ir, destinations);
    let clusters = Clusters::new(ir, request.target, homes);
    let late = builder.kernels(ir, &clusters, destinations.to_vec());
    schedule::order(&mut builder.plan)?;
    if let Some(optimizer) = request.optimizer {
        update::append(&mut builder, optimizer, request)?;
    }
    for (value, state) in late {
        builder.copy(value, state);
    }
    builder.finish()
}

/// A gradient that no binding holds is made in parts, each with a place of its own.
fn cut_gradients(ir: &mut Ir, destinations: Vec<Destination>, target: &Target) -> Vec<Destination> {
    let limit = target.max_shard_bytes();
    let mut all = Vec::new();
    for (destination, root) in destinations.into_iter().zip(std::mem::take(&mut ir.roots)) {
        let node = ir.node(strip(ir, root)).clone();
        let Destination::Grad(param, _) = destination else {
            ir.roots.push(root);
            all.push(destination);
            continue;
        };
        let joined = match node.op {
            Op::Concat(Concat { axis: 0 }) => node.inputs.clone(),
            _ => Vec::new(),
        };
        let parts = match (node.meta.bytes() as u64 > limit, joined) {
            (false, _) => vec![root],
            (true, joined) if !joined.is_empty() => joined,
            (true, _) => slices(ir, root, limit),
        };
        let mut first = 0;
        for part in parts {
            all.push(Destination::Grad(param, first));
            first += ir.node(part).meta.shape.numel() as u64;
            ir.roots.push(part);
        }
    }
    all
}

/// The rows of a node in parts that bindings hold.
fn slices(ir: &mut Ir, id: NodeId, limit: u64) -> Vec<NodeId> {
    let node = ir.node(id).clone();
    let shape = node.meta.shape;
    let (rows, rest) = match shape.split_first() {
        Some((&rows, rest)) => (rows, rest),
        None => return vec![id],
    };
    let sizes = large::cut(rows, rest.iter().product(), limit);
    let mut parts = Vec::new();
    let mut from = 0;
    for n in sizes {
        let (mut start, mut stop) = (vec![0; shape.rank()], shape.to_vec());
        (start[0], stop[0]) = (from, from + n);
        from += n;
        let step = vec![1; shape.rank()];
        parts.push(NodeId(u32::try_from(ir.nodes.len()).unwrap_or(u32::MAX)));
        ir.nodes.push(Node {
            op: Op::Slice(Slice { start, stop, step }),
            inputs: vec![id],
            meta: Meta::new(shape.with_axis(0, n), node.meta.dtype),
            ..node.clone()
        });
    }
    parts
}

/// A leaf that is wanted elsewhere must be copied there.
pub(super) fn copy_wanted_leaves(ir: &mut Ir) {
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
