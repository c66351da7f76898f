//! Matrices of a product in memory: which views the product's kernel can read through.

use super::cluster::{is_memory, strip};
use super::view::{Source, source};
use crate::ops::Op;
use crate::passes::Ir;
use crate::{Index, NodeId, Shape};

/// An operand of a product as offset and strides into a node that is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The node in memory.
    pub(crate) base: NodeId,
    pub(crate) offset: usize,
    pub(crate) batch_stride: usize,
    pub(crate) row_stride: usize,
    /// The stored matrix is the transposition of the operand.
    pub(crate) swapped: bool,
}

/// What must be in memory for a product to read the operand `x`. A copy is made under the shape
/// that its elements first had, so that other kernels find the same copy.
pub(crate) fn base(ir: &Ir, x: NodeId) -> NodeId {
    matrix(ir, x).map_or_else(|| strip(ir, x), |m| m.base)
}

/// How a product can read the operand `x`, `[batch…, R, C]`; `None` if it must be copied first.
pub(crate) fn matrix(ir: &Ir, x: NodeId) -> Option<Layout> {
    let shape = ir.node(x).meta.shape;
    let rank = shape.rank();
    let batch: usize = shape[..rank - 2].iter().product();
    let sizes = [batch, shape[rank - 2], shape[rank - 1]];
    let mut at = Index::axis(0).unravel(&shape[..rank - 2], &sizes);
    at.extend([Index::axis(1), Index::axis(2)]);
    let (id, place) = place(ir, x, at, &sizes)?;
    let strides = place.strides(3)?;
    let used = |axis: usize| if sizes[axis] == 1 { 0 } else { strides[axis] };
    let (b, r, c) = (used(0), used(1), used(2));
    let whole = |v: i64| usize::try_from(v).ok();
    let layout = |row_stride: i64, swapped: bool| {
        Some(Layout {
            base: id,
            offset: whole(place.offset())?,
            batch_stride: whole(b)?,
            row_stride: whole(row_stride)?,
            swapped,
        })
    };
    // A single row or column fits either way: take the one that is dense.
    let (rows, cols) = (i64::try_from(sizes[1]).ok()?, i64::try_from(sizes[2]).ok()?);
    match (r, c) {
        (r, c) if (c == 1 || cols == 1) && (r >= cols || rows == 1) => {
            layout(if rows == 1 { cols } else { r }, false)
        }
        (r, c) if (r == 1 || rows == 1) && (c >= rows || cols == 1) => {
            layout(if cols == 1 { rows } else { c }, true)
        }
        _ => None,
    }
}

/// Heads `[B, T, heads, width]` as offset and strides into a node that is in memory; the elements
/// of a head lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadsLayout {
    /// The node in memory.
    pub(crate) base: NodeId,
    pub(crate) offset: usize,
    /// From one sample, position and head to the next.
    pub(crate) strides: [usize; 3],
}

/// How attention reads the heads `x`: where they lie, or from a copy.
pub(crate) fn heads(ir: &Ir, x: NodeId) -> HeadsLayout {
    let shape = ir.node(x).meta.shape;
    let [row, head] = [shape[2] * shape[3], shape[3]];
    strided(ir, x).unwrap_or(HeadsLayout {
        base: strip(ir, x),
        offset: 0,
        strides: [shape[1] * row, row, head],
    })
}

fn strided(ir: &Ir, x: NodeId) -> Option<HeadsLayout> {
    let sizes = ir.node(x).meta.shape;
    let at = (0..sizes.rank()).map(Index::axis).collect();
    let (base, place) = place(ir, x, at, &sizes)?;
    let strides = place.strides(4)?;
    let whole = |v: i64| usize::try_from(v).ok();
    let stride = |axis: usize| match sizes[axis] {
        1 => Some(0),
        _ => whole(strides[axis]),
    };
    (sizes[3] == 1 || strides[3] == 1).then_some(())?;
    Some(HeadsLayout {
        base,
        offset: whole(place.offset())?,
        strides: [stride(0)?, stride(1)?, stride(2)?],
    })
}

/// The node in memory that holds the elements of `x` at the coordinates `at`, over axes of these
/// sizes, and their place in it. Reads through every view that only moves; computed nodes and leaves
/// are in memory.
fn place(ir: &Ir, x: NodeId, mut at: Vec<Index>, sizes: &[usize]) -> Option<(NodeId, Index)> {
    let mut id = x;
    while ir.node(id).op.is_view() {
        let node = ir.node(id);
        let shapes: Vec<Shape> = node.inputs.iter().map(|&i| ir.node(i).meta.shape).collect();
        match source(node, &shapes, &at, sizes)? {
            Source::At(inner) => at = inner,
            Source::Padded(..) | Source::Joined(_) => return None,
        }
        id = node.inputs[0];
    }
    if matches!(
        ir.node(id).op,
        Op::Const(_) | Op::Iota(_) | Op::Random { .. } | Op::StepWord(_)
    ) {
        return None;
    }
    debug_assert!(is_memory(&ir.node(id).op) || !ir.node(id).op.is_source());
    let shape = ir.node(id).meta.shape;
    Some((id, Index::linear(&at, &shape)))
}
