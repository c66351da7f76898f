//! The order of elements.

use std::cmp::Ordering;

use gradus_graph::ops::ArgSort;

use super::tensor::{Float, Tensor, Values};

/// Sorts the runs of every row by comparing elements.
pub(super) fn argsort<T: Float>(op: &ArgSort, x: &Tensor<T>) -> Option<Tensor<T>> {
    let compare = |a: usize, b: usize| match x.values() {
        Values::Float(v) => numbers(v[a], v[b]),
        Values::I32(v) => v[a].cmp(&v[b]),
        Values::U32(v) => v[a].cmp(&v[b]),
        Values::Bool(v) => v[a].cmp(&v[b]),
    };
    let length = x.shape().last_dim();
    let mut order = Vec::with_capacity(x.shape().numel());
    for start in (0..x.shape().numel()).step_by(length.max(1)) {
        for first in (0..length).step_by(op.run) {
            let mut run: Vec<usize> = (first..length.min(first.saturating_add(op.run))).collect();
            run.sort_by(|&a, &b| {
                let ascending = compare(start + a, start + b);
                if op.descending {
                    ascending.reverse()
                } else {
                    ascending
                }
            });
            order.extend(run);
        }
    }
    let order: Result<Vec<i32>, _> = order.into_iter().map(i32::try_from).collect();
    Some(Tensor::of(x.shape(), Values::I32(order.ok()?)))
}

/// NaN is larger than all numbers, and as large as itself.
fn numbers<T: Float>(a: T, b: T) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}
