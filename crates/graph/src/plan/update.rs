//! The optimizer: one kernel for each run of trained parameters, and one more to clip by norm.

use super::build::{PlanError, Request};
use super::builder::{Builder, UNPLACED};
use super::{Role, Run, ValueId};
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
        let graph = Graph::new();
        let vars: Vec<Var<'_>> = inputs
            .iter()
            .map(|&v| {
                let value = &builder.plan.values[v.index()];
                graph.input(&value.name, value.meta.shape, value.meta.dtype)
            })
            .collect();
        let (vectors, sums) = vars.split_at(2 + states.len());
        let grad = match (request.clip_norm, sums.first()) {
            (Some(limit), Some(sums)) => vectors[1] * clip_factor(*sums, limit),
            _ => vectors[1],
        };
        let update = graph.within("optimizer", None, || {
            optimizer.update(vectors[0], grad, &vectors[2..])
        });
        if update.states.len() != states.len() {
            return Err(PlanError::Request(format!(
                "{optimizer:?} names {} states but updates {}",
                states.len(),
                update.states.len()
            )));
        }
        let mut outputs = vec![(update.param, param)];
        outputs.extend(update.states.iter().copied().zip(states));
        builder.lower_graph(&graph, &inputs, &outputs, "optimizer/update")?;
    }
    Ok(())
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

/// Sums of squares of the parts of all gradients: one kernel for each run, all in one vector, so
/// that updates bind one buffer however many runs there are.
fn square_sums(builder: &mut Builder, grads: &[ValueId]) -> Result<ValueId, PlanError> {
    let sizes = |grad: &ValueId| builder.plan.values[grad.index()].meta.shape;
    let shapes: Vec<Shape> = grads.iter().map(sizes).collect();
    let parts = |shape: &Shape| parts(&Graph::new(), shape).shape().numel();
    let total: usize = shapes.iter().map(parts).sum();
    let meta = Meta::new(Shape::of(&[total]), DType::F32);
    if let [grad] = grads {
        let all = builder.value("square_sums".into(), meta, UNPLACED, 0);
        part_sums(builder, *grad, all)?;
        return Ok(all);
    }
    // Not in a slot: those are written as a whole.
    let all = builder.appended("square_sums".into(), meta, Role::Outputs);
    let place = &builder.plan.values[all.index()];
    let (buffer, mut offset) = (place.buffer, place.offset);
    for (&grad, shape) in grads.iter().zip(&shapes) {
        let meta = Meta::new(Shape::of(&[parts(shape)]), DType::F32);
        let part = builder.value("square_sums".into(), meta, buffer, offset);
        part_sums(builder, grad, part)?;
        offset += meta.bytes() as u64;
    }
    Ok(all)
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
