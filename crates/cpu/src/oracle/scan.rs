//! Running results, from one end of an axis to the other.

use gradus_graph::ops::{Scan, Scanning};

use super::tensor::{Float, Tensor, Values};

/// `None` if the inputs differ in dtype.
pub(super) fn scan<T: Float>(op: &Scan, inputs: &[&Tensor<T>]) -> Option<Tensor<T>> {
    let x = inputs.last()?;
    let shape = x.shape();
    let stride = shape.strides().get(op.axis).copied()?;
    let size = shape[op.axis];
    // The position before each, for positions in the order of the scan.
    let steps: Vec<(usize, Option<usize>)> = (0..shape.numel() / size.max(1))
        .flat_map(|line| {
            let start = line / stride * stride * size + line % stride;
            let place = move |i: usize| start + if op.reverse { size - 1 - i } else { i } * stride;
            (0..size).map(move |i| (place(i), i.checked_sub(1).map(place)))
        })
        .collect();
    let a = inputs.first()?.values();
    let values = match (x.values(), a) {
        (Values::Float(x), Values::Float(a)) => Values::Float(match op.op {
            Scanning::Sum => run(x, &steps, |old, at| old + x[at]),
            Scanning::Prod => run(x, &steps, |old, at| old * x[at]),
            Scanning::Max => run(x, &steps, |old, at| old.maximum(x[at])),
            Scanning::Linear => run(x, &steps, |old, at| a[at] * old + x[at]),
        }),
        (Values::I32(x), Values::I32(a)) => Values::I32(match op.op {
            Scanning::Sum => run(x, &steps, |old, at| old.wrapping_add(x[at])),
            Scanning::Prod => run(x, &steps, |old, at| old.wrapping_mul(x[at])),
            Scanning::Max => run(x, &steps, |old, at| old.max(x[at])),
            Scanning::Linear => run(x, &steps, |old, at| {
                a[at].wrapping_mul(old).wrapping_add(x[at])
            }),
        }),
        (Values::U32(x), Values::U32(a)) => Values::U32(match op.op {
            Scanning::Sum => run(x, &steps, |old, at| old.wrapping_add(x[at])),
            Scanning::Prod => run(x, &steps, |old, at| old.wrapping_mul(x[at])),
            Scanning::Max => run(x, &steps, |old, at| old.max(x[at])),
            Scanning::Linear => run(x, &steps, |old, at| {
                a[at].wrapping_mul(old).wrapping_add(x[at])
            }),
        }),
        _ => return None,
    };
    Some(Tensor::of(shape, values))
}

/// Each position from the one before it; the first is what it was.
fn run<E: Copy>(
    x: &[E],
    steps: &[(usize, Option<usize>)],
    take_in: impl Fn(E, usize) -> E,
) -> Vec<E> {
    let mut y = x.to_vec();
    for &(at, before) in steps {
        if let Some(before) = before {
            y[at] = take_in(y[before], at);
        }
    }
    y
}
