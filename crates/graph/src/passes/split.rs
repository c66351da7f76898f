//! Long reductions to few elements become two: a GPU needs many rows to be busy.
//!
//! So do weight gradients of convolutions, which sum over all images and positions: parts of the
//! images become groups, whose gradients are then added up.
//!
//! ```text
//! x [N, G·C, q…] = [N/S, S·G·C, q…]   y likewise   w [S·G·O, C, k…] = [S, G·O, C, k…] -> [G·O, C, k…]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{Ir, Rewriter};
use crate::ops::{Conv, Direction, Op, Permute, Reduce, Reduction, Reshape};
use crate::plan::cluster::{is_product, products, strip, summed_operand, summed_runs};
use crate::{DType, DeviceClass, Node, NodeId, Scalar, Shape, Target, Var};

/// Parts into which the first of two reductions divides each row.
pub(crate) const PARTS: usize = 256;

/// Terms from which on a row is divided.
pub(crate) const LONG: usize = 8192;

/// Rows from which on there is work enough.
pub(crate) const FEW: usize = 64;

/// Tiles of a product that keep a GPU busy, rows and columns of a tile, and the terms that are
/// worth a part. Not measured on a GPU.
const TILES: usize = 128;
const TILE: usize = 64;
const TERMS: usize = 512;

pub(super) fn run(ir: &Ir, target: &Target) -> Ir {
    if target.class == DeviceClass::Cpu {
        return ir.clone();
    }
    // Products of weight gradients sum these beside, for the gradients of biases.
    let summed = products(ir, target).filter_map(|p| summed_operand(ir, ir.node(p)));
    let summed: BTreeSet<NodeId> = summed.map(|(base, _)| base).collect();
    let divided: BTreeMap<NodeId, ([usize; 3], usize)> = products(ir, target)
        .filter_map(|p| {
            let node = ir.node(p);
            let (base, sizes) = summed_operand(ir, node)?;
            Some((base, (sizes, parts(ir, node, target)?)))
        })
        .collect();
    ir.rewrite(|out, node, x| match (&node.op, x) {
        (Op::Conv(conv), &[x, y]) => match parts(ir, node, target) {
            Some(parts) => weight_in_parts(out, node, conv, [x, y], parts),
            None => out.emit(node.op.clone(), &[x, y], node),
        },
        (Op::Reduce(r), &[x]) => {
            let terms: usize = r.axes.iter().map(|&a| x.shape()[a]).product();
            let base = strip(ir, node.inputs[0]);
            let alone = !summed.contains(&base);
            if let Some(&(sizes, parts)) = divided.get(&base)
                && summed_runs(ir, node) == Some((base, sizes))
            {
                sum_in_parts(out, node, x, sizes, parts)
            } else if alone && terms >= LONG && node.meta.shape.numel() <= FEW {
                split(out, node, r, x, terms)
            } else {
                out.emit(node.op.clone(), &[x], node)
            }
        }
        (op, x) => out.emit(op.clone(), x, node),
    })
}

/// Into how many parts the images of a weight gradient are divided.
fn parts(ir: &Ir, node: &Node, target: &Target) -> Option<usize> {
    let Op::Conv(conv) = &node.op else {
        return None;
    };
    let weight = conv.direction == Direction::Weight && target.class == DeviceClass::Gpu;
    if !weight || !is_product(ir, node, target) {
        return None;
    }
    let images = ir.node(node.inputs[0]).meta.shape[0];
    let [groups, m, n, k] = conv.product(images);
    let tiles = groups * m.div_ceil(TILE) * n.div_ceil(TILE);
    let divisors = (2..=images).filter(|s| images.is_multiple_of(*s) && k / s >= TERMS);
    let (few, enough): (Vec<_>, Vec<_>) = divisors.partition(|s| tiles * s < TILES);
    let parts = enough.first().or(few.last());
    parts.filter(|_| tiles < TILES && k >= LONG).copied()
}

fn weight_in_parts<'g>(
    out: &mut Rewriter<'g>,
    node: &Node,
    conv: &Conv,
    operands: [Var<'g>; 2],
    parts: usize,
) -> Var<'g> {
    let [x, y] = operands.map(|v| {
        let mut shape = v.shape().to_vec();
        (shape[0], shape[1]) = (shape[0] / parts, shape[1] * parts);
        v.reshape(Shape::of(&shape))
    });
    let conv = Conv {
        groups: conv.groups * parts,
        ..conv.clone()
    };
    let each = x.apply(Op::Conv(conv), &[y]);
    added(out, node, each, parts)
}

/// The gradient of a bias, so that it is found beside that of the weight.
fn sum_in_parts<'g>(
    out: &mut Rewriter<'g>,
    node: &Node,
    y: Var<'g>,
    [images, channels, positions]: [usize; 3],
    parts: usize,
) -> Var<'g> {
    let y = y.reshape([images / parts, parts * channels, positions]);
    let (op, axes) = (Reduction::Sum, vec![0, 2]);
    let each = y.apply(Op::Reduce(Reduce { op, axes }), &[]);
    added(out, node, each, parts)
}

/// The sum of so many parts that lie one after the other.
fn added<'g>(out: &mut Rewriter<'g>, node: &Node, each: Var<'g>, parts: usize) -> Var<'g> {
    let rows = each.reshape([parts, each.shape().numel() / parts]);
    let op = Reduction::Sum;
    let sum = rows.apply(Op::Reduce(Reduce { op, axes: vec![0] }), &[]);
    let shape = node.meta.shape;
    out.emit(Op::Reshape(Reshape { shape }), &[sum], node)
}

/// `[kept…, reduced…] -> [rows, PARTS, length] -> [rows, PARTS] -> [rows]`
fn split<'g>(out: &mut Rewriter<'g>, node: &Node, r: &Reduce, x: Var<'g>, terms: usize) -> Var<'g> {
    let kept: Vec<usize> = (0..x.rank()).filter(|a| !r.axes.contains(a)).collect();
    let rows: usize = kept.iter().map(|&a| x.shape()[a]).product();
    let front = x.apply(
        Op::Permute(Permute {
            axes: [kept, r.axes.clone()].concat(),
        }),
        &[],
    );
    let parts = partial(front.reshape([rows, terms]), r.op);
    let whole = parts.apply(
        Op::Reduce(Reduce {
            op: r.op,
            axes: vec![1],
        }),
        &[],
    );
    out.emit(
        Op::Reshape(Reshape {
            shape: node.meta.shape,
        }),
        &[whole],
        node,
    )
}

/// `[rows, terms] -> [rows, PARTS]`: each part reduced.
pub(crate) fn partial(x: Var<'_>, op: Reduction) -> Var<'_> {
    let [rows, terms] = [x.dim(0), x.dim(1)];
    let length = terms.div_ceil(PARTS);
    let padded = x.pad(
        &[0, 0],
        &[0, PARTS * length - terms],
        neutral(op, x.dtype()),
    );
    let cut = padded.reshape(Shape::of(&[rows, PARTS, length]));
    cut.apply(Op::Reduce(Reduce { op, axes: vec![2] }), &[])
        .reshape([rows, PARTS])
}

/// What changes no reduction.
pub(super) fn neutral(op: Reduction, dtype: DType) -> Scalar {
    match (op, dtype) {
        (Reduction::Max, DType::F32) => Scalar::F32(f64::from(f32::MIN)),
        (Reduction::Min, DType::F32) => Scalar::F32(f64::from(f32::MAX)),
        (Reduction::Max, DType::I32) => Scalar::I32(i32::MIN),
        (Reduction::Min, DType::I32) => Scalar::I32(i32::MAX),
        (Reduction::Min, DType::U32) => Scalar::U32(u32::MAX),
        (Reduction::Prod, DType::F32) => Scalar::F32(1.0),
        (Reduction::Prod, DType::I32) => Scalar::I32(1),
        (Reduction::Prod, DType::U32) => Scalar::U32(1),
        (_, dtype) => Scalar::zero(dtype),
    }
}
