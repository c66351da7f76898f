//! Long reductions to few elements become two: a GPU needs many rows to be busy.

use std::collections::BTreeSet;

use super::{Ir, Rewriter};
use crate::ops::{Op, Permute, Reduce, Reduction, Reshape};
use crate::plan::cluster::{products, strip, summed_operand};
use crate::{DType, DeviceClass, Node, NodeId, Scalar, Shape, Target, Var};

/// Parts into which the first of two reductions divides each row.
pub(crate) const PARTS: usize = 256;

/// Terms from which on a row is divided.
pub(crate) const LONG: usize = 8192;

/// Rows from which on there is work enough.
pub(crate) const FEW: usize = 64;

pub(super) fn run(ir: &Ir, target: &Target) -> Ir {
    if target.class == DeviceClass::Cpu {
        return ir.clone();
    }
    // Products of weight gradients sum these beside, for the gradients of biases.
    let summed = products(ir, target).filter_map(|p| summed_operand(ir, ir.node(p)));
    let summed: BTreeSet<NodeId> = summed.map(|(base, _)| base).collect();
    ir.rewrite(|out, node, x| match (&node.op, x) {
        (Op::Reduce(r), &[x]) => {
            let terms: usize = r.axes.iter().map(|&a| x.shape()[a]).product();
            let alone = !summed.contains(&strip(ir, node.inputs[0]));
            if alone && terms >= LONG && node.meta.shape.numel() <= FEW {
                split(out, node, r, x, terms)
            } else {
                out.emit(node.op.clone(), &[x], node)
            }
        }
        (op, x) => out.emit(op.clone(), x, node),
    })
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
