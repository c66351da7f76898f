//! Reductions, in ascending row-major order.

use gradus_graph::Shape;
use gradus_graph::ops::{ArgReduce, Reduce, Reduction};

use super::tensor::{Float, Tensor, Values, strided};

/// For each element of `x`, in order, the element of the result it belongs to.
fn targets(from: Shape, to: Shape, axes: &[usize]) -> Vec<usize> {
    let mut strides = to.strides();
    for &axis in axes {
        strides[axis] = 0;
    }
    strided(&from, 0, &strides)
}

pub(super) fn reduce<T: Float>(op: &Reduce, x: &Tensor<T>, shape: Shape) -> Tensor<T> {
    let to = targets(x.shape(), shape, &op.axes);
    let n = shape.numel();
    let values = match (x.values(), op.op) {
        (Values::Float(v), Reduction::Sum) => {
            Values::Float(fold(v, &to, n, T::of(0.0), |a, b| a + b))
        }
        (Values::Float(v), Reduction::Prod) => {
            Values::Float(fold(v, &to, n, T::of(1.0), |a, b| a * b))
        }
        (Values::Float(v), Reduction::Max) => {
            Values::Float(extreme(v, &to, n, T::of(0.0), T::maximum))
        }
        (Values::Float(v), Reduction::Min) => {
            Values::Float(extreme(v, &to, n, T::of(0.0), T::minimum))
        }
        (Values::I32(v), Reduction::Sum) => Values::I32(fold(v, &to, n, 0, i32::wrapping_add)),
        (Values::I32(v), Reduction::Prod) => Values::I32(fold(v, &to, n, 1, i32::wrapping_mul)),
        (Values::I32(v), Reduction::Max) => Values::I32(extreme(v, &to, n, 0, i32::max)),
        (Values::I32(v), Reduction::Min) => Values::I32(extreme(v, &to, n, 0, i32::min)),
        (Values::U32(v), Reduction::Sum) => Values::U32(fold(v, &to, n, 0, u32::wrapping_add)),
        (Values::U32(v), Reduction::Prod) => Values::U32(fold(v, &to, n, 1, u32::wrapping_mul)),
        (Values::U32(v), Reduction::Max) => Values::U32(extreme(v, &to, n, 0, u32::max)),
        (Values::U32(v), Reduction::Min) => Values::U32(extreme(v, &to, n, 0, u32::min)),
        // The shape rule refuses bool.
        (Values::Bool(_), _) => Values::Bool(vec![false; n]),
    };
    Tensor::of(shape, values)
}

/// Combines each element into its target, which starts as `zero`.
fn fold<E: Copy>(v: &[E], to: &[usize], n: usize, zero: E, f: impl Fn(E, E) -> E) -> Vec<E> {
    let mut sums = vec![zero; n];
    for (&x, &t) in v.iter().zip(to) {
        sums[t] = f(sums[t], x);
    }
    sums
}

/// As [`fold`], but each target starts as its first element. `unused` never stays: the shape
/// rule refuses extremes of nothing.
fn extreme<E: Copy>(v: &[E], to: &[usize], n: usize, unused: E, f: impl Fn(E, E) -> E) -> Vec<E> {
    let mut best: Vec<Option<E>> = vec![None; n];
    for (&x, &t) in v.iter().zip(to) {
        best[t] = Some(best[t].map_or(x, |b| f(b, x)));
    }
    best.into_iter().map(|b| b.unwrap_or(unused)).collect()
}

/// A NaN counts as the extreme, as it does in [`reduce`].
pub(super) fn arg_reduce<T: Float>(op: &ArgReduce, x: &Tensor<T>, shape: Shape) -> Tensor<T> {
    let to = targets(x.shape(), shape, &[op.axis]);
    // The position along the axis, for each element.
    let mut along = vec![0; x.shape().rank()];
    along[op.axis] = 1;
    let at = strided(&x.shape(), 0, &along);
    let n = shape.numel();
    let max = op.op != Reduction::Min;
    let nan_or = |a: T, b: T, wins: bool| !b.is_nan() && (a.is_nan() || wins);
    let positions = match x.values() {
        Values::Float(v) if max => first(v, &to, &at, n, |a, b| nan_or(a, b, a > b)),
        Values::Float(v) => first(v, &to, &at, n, |a, b| nan_or(a, b, a < b)),
        Values::I32(v) if max => first(v, &to, &at, n, |a, b| a > b),
        Values::I32(v) => first(v, &to, &at, n, |a, b| a < b),
        Values::U32(v) if max => first(v, &to, &at, n, |a, b| a > b),
        Values::U32(v) => first(v, &to, &at, n, |a, b| a < b),
        // The shape rule refuses bool.
        Values::Bool(_) => vec![0; n],
    };
    Tensor::of(shape, Values::I32(positions))
}

/// The position of the element that no later one `beats`.
fn first<E: Copy>(
    v: &[E],
    to: &[usize],
    at: &[usize],
    n: usize,
    beats: impl Fn(E, E) -> bool,
) -> Vec<i32> {
    let mut best: Vec<Option<(E, usize)>> = vec![None; n];
    for ((&x, &t), &at) in v.iter().zip(to).zip(at) {
        if best[t].is_none_or(|(b, _)| beats(x, b)) {
            best[t] = Some((x, at));
        }
    }
    let position = |b: Option<(E, usize)>| b.map_or(0, |(_, at)| at);
    best.into_iter()
        .map(|b| i32::try_from(position(b)).unwrap_or(i32::MAX))
        .collect()
}
