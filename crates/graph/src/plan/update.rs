//! The optimizer: one kernel for each run of trained parameters, more to clip by norm and where a
//! rule needs norms of parameters.

use super::build::{PlanError, Request};
use super::builder::{Builder, UNPLACED};
use super::groups::Groups;
use super::sparse::Updated;
use super::{Role, ValueId, layerwise};
use crate::ops::{Gather, Meta, Op, Reduction};
use crate::passes::partial;
use crate::{DType, Graph, Optimizer, Shape, Var};

pub(super) fn append(
    builder: &mut Builder,
    optimizer: &dyn Optimizer,
    request: &Request<'_, '_>,
) -> Result<(), PlanError> {
    let all = Updated::all(builder, request);
    let grads: Vec<ValueId> = all.iter().map(|u| u.gradient(builder)).collect();
    whole_where_needed(optimizer, request)?;
    let clip_norm = request.clip_norm.filter(|_| optimizer.clips());
    let squares = match clip_norm {
        Some(_) => Some(square_sums(builder, optimizer, &all, request.first_state)?),
        None => None,
    };
    for (updated, &grad) in all.iter().zip(&grads) {
        let run = &updated.run;
        let param = updated.vector(builder, Role::Params(run.shard), "params");
        let mut inputs = vec![param, grad];
        for (k, name) in (request.first_state..).zip(optimizer.states()) {
            inputs.push(updated.vector(builder, Role::OptimizerState(k, run.shard), name));
        }
        let states = inputs[2..].to_vec();
        inputs.extend(squares);
        let gradient = Gradient {
            optimizer,
            states: states.len(),
            clip_norm,
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
        inputs.extend(updated.first(builder));
        let graph = Graph::new();
        let mut vars = builder.inputs(&graph, &inputs);
        if updated.sparse.is_some()
            && let Some(first) = vars.pop()
        {
            vars[1] = vars[1].apply(Op::Gather(Gather), &[first]);
        }
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
        graph.check()?;
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

/// A parameter that lies in several bindings is not measured, and no matrix, as a whole.
fn whole_where_needed(
    optimizer: &dyn Optimizer,
    request: &Request<'_, '_>,
) -> Result<(), PlanError> {
    let limit = request.target.max_shard_bytes() / 4;
    let segments = request.slabs.segments.iter().zip(&request.gradients);
    let trained: Vec<&str> = segments
        .filter_map(|(s, dx)| dx.is_some().then_some(s.name.as_str()))
        .collect();
    for param in request.graph.params() {
        let is_large = param.shape.numel() as u64 > limit;
        let needed = || {
            let group = optimizer.group(&param.name, &param.shape);
            optimizer.layerwise().is_some() || optimizer.whole(group).is_some()
        };
        if is_large && trained.contains(&param.name.as_str()) && needed() {
            return Err(PlanError::Request(format!(
                "{optimizer:?} needs each parameter as a whole, but no binding of {} holds `{}`",
                request.target.name, param.name
            )));
        }
    }
    Ok(())
}

/// How the gradient is found among the inputs: parameter, gradient, states, sums of squares.
pub(super) struct Gradient<'a> {
    optimizer: &'a dyn Optimizer,
    states: usize,
    clip_norm: Option<f64>,
}

impl Gradient<'_> {
    /// Parameter, gradient as it is used, and states.
    pub(super) fn of<'a, 'g>(&self, vars: &'a [Var<'g>]) -> (Var<'g>, Var<'g>, &'a [Var<'g>]) {
        let states = &vars[2..2 + self.states];
        let grad = self.optimizer.gradient(vars[1], states);
        let grad = match (self.clip_norm, vars.get(2 + self.states)) {
            (Some(limit), Some(sums)) => grad * clip_factor(*sums, limit),
            _ => grad,
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

/// `min(1, limit / (‖g‖ + 10⁻⁶))`, as PyTorch's `clip_grad_norm_`.
fn clip_factor(sums: Var<'_>, limit: f64) -> Var<'_> {
    let norm = sums.sum_all().sqrt();
    (sums.graph().scalar(limit) / (norm + 1e-6)).minimum(1.0)
}

/// Sums of squares of the parts of all gradients: one kernel for each run, and for each table whose
/// gradient is looked up: the norm of its sums is that of the gradient.
fn square_sums(
    builder: &mut Builder,
    optimizer: &dyn Optimizer,
    all: &[Updated],
    first_state: usize,
) -> Result<ValueId, PlanError> {
    let measured: Vec<&Updated> = all.iter().filter(|u| u.is_measured()).collect();
    let mut operands: Vec<Vec<ValueId>> = Vec::new();
    for updated in &measured {
        let mut inputs = vec![updated.gradient(builder)];
        if updated.sparse.is_none() {
            for (k, name) in (first_state..).zip(optimizer.states()) {
                let role = Role::OptimizerState(k, updated.run.shard);
                inputs.push(updated.vector(builder, role, name));
            }
        }
        operands.push(inputs);
    }
    let sizes = operands.iter().map(|inputs| {
        let value = &builder.plan.values[inputs[0].index()];
        let g = Graph::new();
        parts(g.full(value.meta.shape.numel(), 0.0)).shape().numel()
    });
    let sizes: Vec<usize> = sizes.collect();
    let sums = builder.parts("square_sums", &sizes);
    for ((updated, inputs), &to) in measured.iter().zip(&operands).zip(&sums.each) {
        let graph = Graph::new();
        let vars = builder.inputs(&graph, inputs);
        let gradient = match updated.sparse {
            Some(_) => vars[0],
            None => optimizer.gradient(vars[0], &vars[1..]),
        };
        builder.lower_graph(&graph, inputs, &[(parts(gradient), to)], "optimizer/norm")?;
    }
    Ok(sums.all)
}

/// Sums of squares of the parts of a vector.
fn parts(g: Var<'_>) -> Var<'_> {
    let sums = partial(g.square().reshape([1, g.shape().numel()]), Reduction::Sum);
    sums.reshape(sums.shape().numel())
}
