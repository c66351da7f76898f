//! Sorts and ordered sums as kernels of a GPU can compute them.
//!
//! Long sorts become sorted runs that are merged, each time twice as long. Sums into a table, and
//! searches for where its rows are named first, get the order of the indices, so that every row finds
//! its positions side by side; sums into few rows become one masked sum for each.

use super::Ir;
use crate::ops::{ArgSort, Gather, Op};
use crate::{DType, DeviceClass, Scalar, Target, Var};

/// The longest run that is sorted in workgroup memory: 16 KiB of keys and positions.
const RUN: usize = 2048;

/// Positions up to which every row of a table may look at all of them.
const DIRECT: usize = 128;

/// Rows up to which each sums for itself, so that one that is named often is no long walk.
const FEW_ROWS: usize = 8;

pub(super) fn run(ir: &Ir, target: &Target) -> Ir {
    if target.class == DeviceClass::Cpu {
        return ir.clone();
    }
    ir.rewrite(|out, node, x| match (&node.op, x) {
        (Op::ArgSort(sort), &[keys]) if sort.run.min(keys.shape().last_dim()) > RUN => {
            in_runs(keys, sort)
        }
        (Op::ScatterAdd(op), &[values, index]) if index.shape().numel() > DIRECT => {
            let count = index.shape().numel();
            let rest = node.meta.shape[1..].iter().product::<usize>();
            if op.rows <= FEW_ROWS && node.meta.dtype != DType::Bool {
                let values = values.reshape([1, count, rest]);
                return masked(op.rows, values, index).reshape(node.meta.shape);
            }
            let order = ordered(index.reshape([count]));
            out.emit(node.op.clone(), &[values, index, order], node)
        }
        (Op::FirstPosition(_), &[index]) if index.shape().numel() > DIRECT => {
            let last = index.shape().numel() - 1;
            let order = ordered(index);
            let place = out.emit(node.op.clone(), &[index, order], node);
            let last = i32::try_from(last).unwrap_or(i32::MAX);
            let position = order.apply(Op::Gather(Gather), &[place.minimum(last)]);
            place.le(last).select(position, place)
        }
        (op, x) => out.emit(op.clone(), x, node),
    })
}

/// The order of the indices of a sum into a table, if a kernel of the target wants it.
pub(crate) fn order<'g>(index: Var<'g>, target: &Target) -> Option<Var<'g>> {
    let wanted = target.class != DeviceClass::Cpu && index.shape().numel() > DIRECT;
    wanted.then(|| ordered(index))
}

fn ordered(index: Var<'_>) -> Var<'_> {
    let sort = ArgSort {
        descending: false,
        run: index.shape().numel(),
    };
    in_runs(index, &sort)
}

/// Sorted runs, merged until they are as long as asked for.
fn in_runs<'g>(keys: Var<'g>, sort: &ArgSort) -> Var<'g> {
    let sorted = |run, order: &[Var<'g>]| {
        let descending = sort.descending;
        keys.apply(Op::ArgSort(ArgSort { descending, run }), order)
    };
    let wanted = sort.run.min(keys.shape().last_dim());
    let mut run = RUN;
    let mut order = sorted(run, &[]);
    while run < wanted {
        run *= 2;
        order = sorted(run, &[order]);
    }
    order
}

/// `[rows, rest]`: for each row the sum of the values that name it.
fn masked<'g>(rows: usize, values: Var<'g>, index: Var<'g>) -> Var<'g> {
    let [count, rest] = [values.dim(1), values.dim(2)];
    let names = index.cast(DType::I32).reshape([1, count, 1]);
    let row = values.graph().iota([rows, 1, 1], 0);
    let terms = names.eq(row).select(values, Scalar::zero(values.dtype()));
    debug_assert_eq!(terms.shape()[..], [rows, count, rest]);
    terms.sum_keep(&[1])
}
