//! Long scans of few lines become blocks that are scanned side by side: a GPU needs many lines to
//! be busy.
//!
//! ```text
//! [n] -> [n/B, B]       local   = scan of each block
//! [n/B]                 carried = scan of the last of each, moved on by one block
//! [n/B, B] -> [n]       y       = carried taken into local
//! ```

use super::Ir;
use super::split::neutral;
use crate::ops::{Op, Reduction, Scan, Scanning, around, shifted};
use crate::{DeviceClass, Scalar, Shape, Target, Var};

/// Positions of a block.
const BLOCK: usize = 32;

/// Lines from which on there is work enough.
const MANY: usize = 1 << 14;

/// Positions that one invocation may walk, if there are many lines.
const LONGEST: usize = 1 << 12;

pub(super) fn run(ir: &Ir, target: &Target) -> Ir {
    if target.class == DeviceClass::Cpu {
        return ir.clone();
    }
    ir.rewrite(|out, node, x| match (&node.op, x) {
        (Op::Scan(scan), &[.., last]) => {
            let [_, size, _] = around(&node.meta.shape, scan.axis);
            match size <= shortest(&node.meta.shape, scan.axis) {
                true => out.emit(node.op.clone(), x, node),
                false => blocks(scan, x, last),
            }
        }
        (op, x) => out.emit(op.clone(), x, node),
    })
}

/// The length up to which a scan is left as it is.
fn shortest(shape: &Shape, axis: usize) -> usize {
    let [outer, _, inner] = around(shape, axis);
    match outer * inner {
        lines if lines >= MANY => LONGEST,
        _ => 2 * BLOCK,
    }
}

/// A scan, in blocks if it is long.
fn scanned<'g>(scan: &Scan, inputs: &[Var<'g>], x: Var<'g>) -> Var<'g> {
    match x.shape()[scan.axis] <= shortest(&x.shape(), scan.axis) {
        true => x.graph().apply(Op::Scan(scan.clone()), inputs),
        false => blocks(scan, inputs, x),
    }
}

fn blocks<'g>(scan: &Scan, inputs: &[Var<'g>], x: Var<'g>) -> Var<'g> {
    let shape = x.shape();
    let [outer, size, inner] = around(&shape, scan.axis);
    let count = size.div_ceil(BLOCK);
    let added = count * BLOCK - size;
    // What is added at the end changes no result, from whichever end.
    let cut = |v: Var<'g>, fill: Scalar| {
        let padded = v
            .reshape([outer, size, inner])
            .pad(&[0; 3], &[0, added, 0], fill);
        padded.reshape([outer, count, BLOCK, inner])
    };
    let fill = match scan.op {
        Scanning::Sum | Scanning::Linear => Scalar::zero(x.dtype()),
        Scanning::Prod => neutral(Reduction::Prod, x.dtype()),
        Scanning::Max => neutral(Reduction::Max, x.dtype()),
    };
    let within = |op| Scan {
        op,
        axis: 2,
        ..*scan
    };
    let last = if scan.reverse { 0 } else { BLOCK - 1 };
    let last = |v: Var<'g>| {
        v.slice_axis(2, last, last + 1)
            .reshape([outer, count, inner])
    };
    let across = Scan { axis: 1, ..*scan };
    let one = neutral(Reduction::Prod, x.dtype());
    let (local, decay) = match (scan.op, inputs) {
        (Scanning::Linear, &[a, x]) => {
            let (a, x) = (cut(a, one), cut(x, fill));
            let local = a.apply(Op::Scan(within(Scanning::Linear)), &[x]);
            (local, Some(a.apply(Op::Scan(within(Scanning::Prod)), &[])))
        }
        _ => (cut(x, fill).apply(Op::Scan(within(scan.op)), &[]), None),
    };
    let totals: Vec<Var<'g>> = decay.into_iter().chain([local]).map(last).collect();
    let carried = scanned(&across, &totals, last(local));
    let carried = shifted(carried, 1, scan.reverse, fill).reshape([outer, count, 1, inner]);
    let carried = carried.expand(local.shape());
    let joined = match (scan.op, decay) {
        (Scanning::Prod, _) => local * carried,
        (Scanning::Max, _) => local.maximum(carried),
        (_, Some(decay)) => local + decay * carried,
        _ => local + carried,
    };
    let joined = joined.reshape([outer, count * BLOCK, inner]);
    joined.slice_axis(1, 0, size).reshape(shape)
}
