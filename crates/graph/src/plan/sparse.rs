//! Gradients of large tables of which a step names few rows.
//!
//! The gradient of a table is zero but for the rows that were looked up. Where these are few, it is
//! not made: a step sums what belongs to each of them, finds for every row of the table which of the
//! sums is its own, and the optimizer looks the gradient up where it reads it. This costs what the
//! rows that are named cost, and a word for each other.

use super::build::Request;
use super::builder::Builder;
use super::slab::{ALIGN, LARGE};
use super::{Role, Run, ValueId};
use crate::ops::{FirstPosition, Gather, Meta, Op, ScatterAdd};
use crate::passes::{Ir, sort};
use crate::{DType, Graph, NodeId, Optimizer, Shape, Var};

/// The gradient of a parameter by rows of a smaller table: row `v` is `sums[first[v]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SparseGradient {
    /// The parameter: its position among the segments of the slabs.
    pub param: usize,
    /// `[rows]`, `i32`.
    pub first: ValueId,
    /// `[N + 1, …]` for `N` positions that name rows; the last row is zero.
    pub sums: ValueId,
}

impl SparseGradient {
    /// The words of the gradient, whose rows have `width` elements, from those of its two values.
    pub fn words(first: &[u32], sums: &[u32], width: usize) -> Vec<u32> {
        let row = |&row: &u32| sums.get(row as usize * width..).unwrap_or_default();
        let rows = first.iter().map(row);
        rows.flat_map(|row| row.iter().take(width).copied())
            .collect()
    }
}

/// The nodes from which a gradient is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup<'g> {
    pub(super) first: Var<'g>,
    pub(super) sums: Var<'g>,
}

/// For each gradient of the request how it is looked up, if that is better than to make it; `wanted`
/// are all results of the step.
pub(super) fn lookups<'g>(request: &Request<'_, 'g>, wanted: &[NodeId]) -> Vec<Option<Lookup<'g>>> {
    let none = vec![None; request.gradients.len()];
    let Some(optimizer) = request.optimizer else {
        return none;
    };
    let clipped = request.clip_norm.is_some() && optimizer.clips();
    // The parameter and its states, the two of the gradient, and what clips it.
    let bindings = optimizer.states().len() + 3 + usize::from(clipped);
    if optimizer.layerwise().is_some()
        || bindings > request.target.max_bindings
        || (clipped && !takes_as_it_is(optimizer))
    {
        return none;
    }
    let uses = Ir::of(request.graph, wanted.to_vec()).uses();
    let params = request.graph.params();
    let segments = request.slabs.segments.iter();
    let each = segments.zip(&request.gradients).map(|(segment, dx)| {
        let dx = (*dx)?;
        let param = params.iter().find(|p| p.name == segment.name)?;
        let group = optimizer.group(&param.name, &param.shape);
        let is_alone = uses.get(dx.id().index()) == Some(&1);
        match is_alone && optimizer.whole(group).is_none() {
            true => lookup(request, dx),
            false => None,
        }
    });
    each.collect()
}

/// Is the norm of what the optimizer takes that of the gradient?
fn takes_as_it_is(optimizer: &dyn Optimizer) -> bool {
    let graph = Graph::new();
    let vector = |name: &str| graph.input(name, [1], DType::F32);
    let states: Vec<Var<'_>> = optimizer.states().into_iter().map(vector).collect();
    let gradient = vector("gradient");
    optimizer.gradient(gradient, &states).id() == gradient.id()
}

fn lookup<'g>(request: &Request<'_, 'g>, dx: Var<'g>) -> Option<Lookup<'g>> {
    let graph = dx.graph();
    let node = graph.node(dx.id());
    let (Op::ScatterAdd(ScatterAdd { rows }), &[values, index]) = (&node.op, &node.inputs[..])
    else {
        return None;
    };
    let (values, index, rows) = (graph.var(values), graph.var(index), *rows);
    let row_shape = &dx.shape()[1..];
    let (count, width) = (index.shape().numel(), row_shape.iter().product::<usize>());
    let limit = usize::try_from(request.target.max_shard_bytes()).unwrap_or(usize::MAX);
    let dense = node.meta.bytes();
    let (first, sums) = (rows * 4, (count + 1) * width * 4);
    let fits = first.max(sums) <= limit && ALIGN as usize * width * 4 <= limit;
    let [last, absent] = [rows.checked_sub(1)?, count + 1].map(|n| i32::try_from(n).ok());
    let (last, absent) = (last?, absent?);
    if !fits || dense < LARGE || dense < 2 * (first + sums) {
        return None;
    }
    let within = || {
        let index = index.reshape([count]).cast(DType::I32);
        let values = values.reshape([&[count], row_shape].concat());
        let order = sort::order(index, request.target);
        let order = order.as_slice();
        let first = index.apply(Op::FirstPosition(FirstPosition { rows }), order);
        // A position that names the row after the last is left out.
        let row = first.apply(Op::Gather(Gather), &[index.minimum(last)]);
        let row = index.le(last).select(row, absent);
        let op = ScatterAdd { rows: count + 1 };
        let sums = values.apply(Op::ScatterAdd(op), &[&[row], order].concat());
        Lookup { first, sums }
    };
    Some(graph.within_part(node.part, || graph.within_path(node.path, None, within)))
}

/// Parameters that the optimizer updates with one kernel.
pub(super) struct Updated {
    pub(super) run: Run,
    pub(super) sparse: Option<Rows>,
}

/// Rows of a table whose gradient is looked up.
pub(super) struct Rows {
    pub(super) gradient: SparseGradient,
    /// Where they begin.
    from: usize,
    shape: Shape,
}

impl Updated {
    /// Runs of parameters with gradients in memory, then tables without.
    pub(super) fn all(builder: &Builder, request: &Request<'_, '_>) -> Vec<Self> {
        let sparse = &builder.plan.sparse;
        let is_dense = |i: usize| sparse.iter().all(|s| s.param != i);
        let gradients = request.gradients.iter().enumerate();
        let dense: Vec<bool> = gradients.map(|(i, g)| g.is_some() && is_dense(i)).collect();
        let runs = request.slabs.runs(&dense, request.target);
        let whole = runs.into_iter().map(|run| Self { run, sparse: None });
        let tables = sparse.iter().flat_map(|gradient| parts(gradient, request));
        whole.chain(tables).collect()
    }

    /// Where their gradient is, or its sums.
    pub(super) fn gradient(&self, builder: &mut Builder) -> ValueId {
        match &self.sparse {
            Some(rows) => rows.gradient.sums,
            None => self.vector(builder, Role::Grads(self.run.shard), "grads"),
        }
    }

    /// Which sum is the gradient of each row, if it is looked up.
    pub(super) fn first(&self, builder: &mut Builder) -> Option<ValueId> {
        let rows = self.sparse.as_ref()?;
        let all = rows.gradient.first;
        let value = builder.plan.values.get(all.index())?.clone();
        let shape = Shape::of(&[rows.shape[0]]);
        if value.meta.shape == shape {
            return Some(all);
        }
        let offset = value.offset + rows.from as u64 * 4;
        let meta = Meta::new(shape, DType::I32);
        Some(builder.value(value.name, meta, value.buffer, offset))
    }

    /// Is the norm of their gradient measured? Of a table in parts it is measured once.
    pub(super) fn is_measured(&self) -> bool {
        self.sparse.as_ref().is_none_or(|rows| rows.from == 0)
    }

    /// Their part of a slab.
    pub(super) fn vector(&self, builder: &mut Builder, role: Role, name: &str) -> ValueId {
        let Run { shard, offset, len } = self.run;
        let flat = || Shape::of(&[usize::try_from(len).unwrap_or(0)]);
        let shape = self.sparse.as_ref().map_or_else(flat, |rows| rows.shape);
        let buffer = builder.buffer(role);
        let name = format!("{name}[{shard}]");
        builder.value(name, Meta::new(shape, DType::F32), buffer, offset * 4)
    }
}

/// A table in parts that bindings hold, which begin at multiples of 64 rows.
fn parts(gradient: &SparseGradient, request: &Request<'_, '_>) -> Vec<Updated> {
    let segment = request.slabs.segments.get(gradient.param);
    let dx = request.gradients.get(gradient.param).copied().flatten();
    let Some((segment, shape)) = segment.zip(dx.map(|dx| dx.shape())) else {
        return Vec::new();
    };
    let (rows, align) = (shape[0], ALIGN as usize);
    let width = shape.numel() / rows.max(1);
    let most = usize::try_from(request.target.max_shard_bytes() / 4).unwrap_or(usize::MAX);
    let most = (most / width.max(1) / align * align).max(align);
    let each = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(align);
    let part = |from: usize| {
        let rows = each.min(rows - from);
        Updated {
            run: Run {
                shard: segment.shard,
                offset: segment.offset + (from * width) as u64,
                len: (rows * width) as u64,
            },
            sparse: Some(Rows {
                gradient: *gradient,
                from,
                shape: shape.with_axis(0, rows),
            }),
        }
    };
    (0..rows).step_by(each.max(1)).map(part).collect()
}
