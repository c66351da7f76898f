//! The optimizer: one kernel for each run of trained parameters, more to clip by norm and where a
//! rule needs norms of parameters.

use super::build::{PlanError, Request};
use super::builder::{Builder, UNPLACED};
use super::groups::Groups;
use super::{Role, Run, ValueId, layerwise};
use crate::ops::{Meta, Reduction};
use crate::passes::partial;
use crate::{DType, Graph, Optimizer, Shape, Var};

pub(super) fn append(
    builder: &mut Builder,
    optimizer: &dyn Optimizer,
    runs: &[Run],
    request: &Request<'_, '_>,
) -> Result<(), PlanError> {
    let grads: Vec<ValueId> = runs
        .iter()
        .map(|run| slab(builder, Role::Grads(run.shard), "grads", run))
        .collect();
    let squares = match request.clip_norm {
        Some(_) => Some(square_sums(builder, &grads)?),
        None => None,
    };
    for (run, &grad) in runs.iter().zip(&grads) {
        let param = slab(builder, Role::Params(run.shard), "params", run);
        let mut inputs = vec![param, grad];
        for (k, name) in (request.first_state..).zip(optimizer.states()) {
            inputs.push(slab(builder, Role::OptimizerState(k, run.shard), name, run));
        }
        let states = inputs[2..].to_vec();
        inputs.extend(squares);
        let gradient = Gradient {
            states: states.len(),
            clip_norm: request.clip_norm,
        };
        let rule = optimizer.layerwise();
        let groups = Groups::new(builder, optimizer, run, request);
        let norms = match rule {
            Some(rule) => {
                let found = layerwise::norms(builder, rule, run, &inputs, (&gradient, &groups))?;
                Some(found)
            }
            None => None,
        };
        inputs.extend(norms.as_ref().map(|norms| norms.value));
        let graph = Graph::new();
        let vars = builder.inputs(&graph, &inputs);
        let (vector, grad, before) = gradient.of(&vars);
        let update = groups.within(&graph, || match (rule, &norms, vars.last()) {
            (Some(rule), Some(norms), Some(&sums)) => {
                let scale = norms.scale(rule, sums)?;
                Some(rule.update(vector, grad, before, scale))
            }
            _ => Some(match groups.one().and_then(|g| optimizer.whole(g)) {
                Some(whole) => whole.before(vector, grad, before),
                None => optimizer.update(vector, grad, before),
            }),
        });
        let update = update.ok_or_else(|| {
            PlanError::Request(format!("{optimizer:?} makes no scale of what it measures"))
        })?;
        if update.states.len() != states.len() {
            return Err(PlanError::Request(format!(
                "{optimizer:?} names {} states but updates {}",
                states.len(),
                update.states.len()
            )));
        }
        let after = std::iter::once(update.param).chain(update.states);
        let places = std::iter::once(param).chain(states);
        let before = std::iter::once(vector).chain(before.iter().copied());
        let changed = after.zip(places).zip(before);
        let changed = changed.filter(|((after, _), before)| after.id() != before.id());
        let outputs: Vec<(Var<'_>, ValueId)> = changed.map(|(output, _)| output).collect();
        if !outputs.is_empty() {
            builder.lower_graph(&graph, &inputs, &outputs, "optimizer/update")?;
        }
        groups.whole(builder, (optimizer, request), &gradient, squares)?;
    }
    Ok(())
}

/// How the gradient is found among the inputs: parameter, gradient, states, sums of squares.
pub(super) struct Gradient {
    pub(super) states: usize,
    clip_norm: Option<f64>,
}

impl Gradient {
    /// Parameter, gradient as it is used, and states.
    pub(super) fn of<'a, 'g>(&self, vars: &'a [Var<'g>]) -> (Var<'g>, Var<'g>, &'a [Var<'g>]) {
        let states = &vars[2..2 + self.states];
        let grad = match (self.clip_norm, vars.get(2 + self.states)) {
            (Some(limit), Some(sums)) => vars[1] * clip_factor(*sums, limit),
            _ => vars[1],
        };
        (vars[0], grad, states)
    }
}

impl Builder {
    /// These values as inputs of a graph.
    pub(super) fn inputs<'g>(&self, graph: &'g Graph, values: &[ValueId]) -> Vec<Var<'g>> {
        let values = values.iter().map(|v| &self.plan.values[v.index()]);
        let input = |v: &super::Value| graph.input(&v.name, v.meta.shape, v.meta.dtype);
        values.map(input).collect()
    }
}

/// A vector that several kernels write, each a part.
pub(super) struct Parts {
    pub(super) all: ValueId,
    pub(super) each: Vec<ValueId>,
    /// The first element of each.
    pub(super) starts: Vec<usize>,
}

impl Builder {
    /// A vector in parts of these sizes, each from a multiple of four elements on as every tensor:
    /// whoever reads it binds one buffer, however many there are.
    pub(super) fn parts(&mut self, name: &str, sizes: &[usize]) -> Parts {
        let vector = |n: usize| Meta::new(Shape::of(&[n]), DType::F32);
        let padded = |n: &usize| n.next_multiple_of(4);
        if let [n] = sizes {
            let all = self.value(name.into(), vector(*n), UNPLACED, 0);
            return Parts {
                all,
                each: vec![all],
                starts: vec![0],
            };
        }
        let meta = vector(sizes.iter().map(padded).sum());
        // Not in a slot: those are written as a whole.
        let all = self.appended(name.into(), meta, Role::Outputs);
        let place = &self.plan.values[all.index()];
        let (buffer, offset) = (place.buffer, place.offset);
        let (mut each, mut starts, mut start) = (Vec::new(), Vec::new(), 0);
        for n in sizes {
            let offset = offset + start as u64 * 4;
            each.push(self.value(name.into(), vector(*n), buffer, offset));
            starts.push(start);
            start += padded(n);
        }
        Parts { all, each, starts }
    }
}

/// A run as one vector.
fn slab(builder: &mut Builder, role: Role, name: &str, run: &Run) -> ValueId {
    let meta = Meta::new(
        Shape::of(&[usize::try_from(run.len).unwrap_or(0)]),
        DType::F32,
    );
    let buffer = builder.buffer(role);
    let name = format!("{name}[{}]", run.shard);
    builder.value(name, meta, buffer, run.offset * 4)
}

/// `min(1, limit / (‖g‖ + 10⁻⁶))`, as PyTorch's `clip_grad_norm_`.
fn clip_factor(sums: Var<'_>, limit: f64) -> Var<'_> {
    let norm = sums.sum_all().sqrt();
    (sums.graph().scalar(limit) / (norm + 1e-6)).minimum(1.0)
}

/// Sums of squares of the parts of all gradients: one kernel for each run.
fn square_sums(builder: &mut Builder, grads: &[ValueId]) -> Result<ValueId, PlanError> {
    let sizes = grads.iter().map(|grad| {
        let shape = builder.plan.values[grad.index()].meta.shape;
        parts(&Graph::new(), &shape).shape().numel()
    });
    let sizes: Vec<usize> = sizes.collect();
    let parts = builder.parts("square_sums", &sizes);
    for (&grad, &part) in grads.iter().zip(&parts.each) {
        part_sums(builder, grad, part)?;
    }
    Ok(parts.all)
}

fn part_sums(builder: &mut Builder, grad: ValueId, to: ValueId) -> Result<(), PlanError> {
    let shape = builder.plan.values[grad.index()].meta.shape;
    let graph = Graph::new();
    let sums = parts(&graph, &shape);
    builder.lower_graph(&graph, &[grad], &[(sums, to)], "optimizer/norm")
}

/// Sums of squares of the parts of a vector of gradients, its graph's input.
fn parts<'g>(graph: &'g Graph, shape: &Shape) -> Var<'g> {
    let g = graph.input("grads", *shape, DType::F32);
    let sums = partial(g.square().reshape([1, shape.numel()]), Reduction::Sum);
    sums.reshape(sums.shape().numel())
}
