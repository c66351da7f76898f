//! The optimizer: one kernel for each shard of the slabs, and one more to clip by norm.

use super::build::PlanError;
use super::builder::{Builder, UNPLACED};
use super::{Role, ValueId};
use crate::ops::{Meta, Reduction};
use crate::passes::partial;
use crate::{DType, Graph, Optimizer, Shape, Var};

pub(super) fn append(
    builder: &mut Builder,
    optimizer: &dyn Optimizer,
    clip_norm: Option<f64>,
) -> Result<(), PlanError> {
    let shards = builder.plan.slabs.shards.clone();
    let grads: Vec<ValueId> = (0..shards.len())
        .map(|shard| slab(builder, Role::Grads(shard), "grads", &shards))
        .collect();
    let mut squares = Vec::new();
    if clip_norm.is_some() {
        for &grad in &grads {
            squares.push(square_sums(builder, grad)?);
        }
    }
    for (shard, &grad) in grads.iter().enumerate() {
        let param = slab(builder, Role::Params(shard), "params", &shards);
        let mut inputs = vec![param, grad];
        for (k, name) in optimizer.states().iter().enumerate() {
            inputs.push(slab(builder, Role::OptimizerState(k, shard), name, &shards));
        }
        let states = inputs[2..].to_vec();
        inputs.extend(&squares);
        let graph = Graph::new();
        let vars: Vec<Var<'_>> = inputs
            .iter()
            .map(|&v| {
                let value = &builder.plan.values[v.index()];
                graph.input(&value.name, value.meta.shape, value.meta.dtype)
            })
            .collect();
        let (vectors, sums) = vars.split_at(2 + states.len());
        let grad = match clip_norm {
            Some(limit) => vectors[1] * clip_factor(sums, limit),
            None => vectors[1],
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

/// A whole shard as one vector.
fn slab(builder: &mut Builder, role: Role, name: &str, shards: &[u64]) -> ValueId {
    let shard = match role {
        Role::Params(s) | Role::Grads(s) | Role::OptimizerState(_, s) => s,
        _ => 0,
    };
    let len = shards.get(shard).copied().unwrap_or(0);
    let meta = Meta::new(Shape::of(&[usize::try_from(len).unwrap_or(0)]), DType::F32);
    let buffer = builder.buffer(role);
    builder.value(format!("{name}[{shard}]"), meta, buffer, 0)
}

/// `min(1, limit / (‖g‖ + 10⁻⁶))`, as PyTorch's `clip_grad_norm_`.
fn clip_factor<'g>(sums: &[Var<'g>], limit: f64) -> Var<'g> {
    let total = sums.iter().map(|s| s.sum_all()).reduce(|a, b| a + b);
    let graph = sums[0].graph();
    let norm = total.unwrap_or_else(|| graph.scalar(0.0)).sqrt();
    (graph.scalar(limit) / (norm + 1e-6)).minimum(1.0)
}

/// Sums of squares of the parts of a shard of gradients.
fn square_sums(builder: &mut Builder, grad: ValueId) -> Result<ValueId, PlanError> {
    let shape = builder.plan.values[grad.index()].meta.shape;
    let graph = Graph::new();
    let g = graph.input("grads", shape, DType::F32);
    let sums = partial(g.square().reshape([1, shape.numel()]), Reduction::Sum);
    let value = builder.value("square_sums".into(), sums.meta(), UNPLACED, 0);
    builder.lower_graph(&graph, &[grad], &[(sums, value)], "optimizer/norm")?;
    Ok(value)
}
