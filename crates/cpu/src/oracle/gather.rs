//! Rows of a table by index, and the ordered sum of rows into a table.

use gradus_graph::{Scalar, Shape};

use super::tensor::{Float, Tensor, Values};

/// The indices in `0..bound`, with 0 in place of others, and the bits of the largest bad one.
pub(super) fn check_index<T: Float>(bound: u32, x: &Tensor<T>) -> (Tensor<T>, Option<u32>) {
    // A negative index is a large one when its bits are read as unsigned.
    let good = |bits: u32, negative: bool| bits < bound && !negative;
    let (values, bad) = match x.values() {
        Values::I32(v) => {
            let good = |x: i32| good(x.cast_unsigned(), x < 0);
            let bad = v.iter().filter(|&&x| !good(x)).map(|&x| x.cast_unsigned());
            let kept = v.iter().map(|&x| if good(x) { x } else { 0 });
            (Values::I32(kept.collect()), bad.max())
        }
        Values::U32(v) => {
            let bad = v.iter().filter(|&&x| !good(x, false)).copied();
            let kept = v.iter().map(|&x| if good(x, false) { x } else { 0 });
            (Values::U32(kept.collect()), bad.max())
        }
        // The shape rule refuses other dtypes.
        other => (other.clone(), None),
    };
    (Tensor::of(x.shape(), values), bad)
}

/// The indices, if all lie in `0..rows`.
fn rows_of<T: Float>(index: &Tensor<T>, rows: usize) -> Option<Vec<usize>> {
    let inside = |i: usize| (i < rows).then_some(i);
    match index.values() {
        Values::I32(v) => v
            .iter()
            .map(|&i| usize::try_from(i).ok().and_then(inside))
            .collect(),
        Values::U32(v) => v.iter().map(|&i| inside(i as usize)).collect(),
        _ => None,
    }
}

/// `None` if an index lies outside the table.
pub(super) fn gather<T: Float>(
    x: &Tensor<T>,
    index: &Tensor<T>,
    shape: Shape,
) -> Option<Tensor<T>> {
    let width: usize = x.shape().iter().skip(1).product();
    let rows = rows_of(index, x.shape().first().copied()?)?;
    let positions: Vec<usize> = rows
        .iter()
        .flat_map(|row| (0..width).map(move |i| row * width + i))
        .collect();
    Some(Tensor::of(shape, x.values().take(&positions)))
}

/// Sums in ascending order of position, without those whose index is the number of rows; `None` if
/// an index lies outside.
pub(super) fn scatter_add<T: Float>(
    x: &Tensor<T>,
    index: &Tensor<T>,
    shape: Shape,
) -> Option<Tensor<T>> {
    fn add<E: Copy>(out: &mut [E], x: &[E], rows: &[usize], width: usize, sum: impl Fn(E, E) -> E) {
        let inside = |(_, row): &(usize, &usize)| (**row + 1) * width <= out.len();
        let named: Vec<(usize, &usize)> = rows.iter().enumerate().filter(inside).collect();
        for (i, row) in named {
            for c in 0..width {
                out[row * width + c] = sum(out[row * width + c], x[i * width + c]);
            }
        }
    }
    let width: usize = shape.iter().skip(1).product();
    let rows = rows_of(index, shape.first()? + 1)?;
    let mut values = Tensor::full(shape, Scalar::zero(x.dtype()))
        .values()
        .clone();
    match (&mut values, x.values()) {
        (Values::Float(out), Values::Float(x)) => add(out, x, &rows, width, |a, b| a + b),
        (Values::I32(out), Values::I32(x)) => add(out, x, &rows, width, i32::wrapping_add),
        (Values::U32(out), Values::U32(x)) => add(out, x, &rows, width, u32::wrapping_add),
        (Values::Bool(out), Values::Bool(x)) => add(out, x, &rows, width, |a, b| a | b),
        _ => return None,
    }
    Some(Tensor::of(shape, values))
}

/// The first position in the order that names each row, or the number of positions.
pub(super) fn first_position<T: Float>(
    index: &Tensor<T>,
    order: Option<&Tensor<T>>,
    shape: Shape,
) -> Option<Tensor<T>> {
    let count = index.shape().numel();
    let index = rows_of(index, shape.numel() + 1)?;
    let order = match order {
        Some(order) => rows_of(order, count)?,
        None => (0..count).collect(),
    };
    let none = i32::try_from(count).ok()?;
    let mut first = vec![none; shape.numel()];
    for (position, &i) in (0..none).zip(&order) {
        let first = first.get_mut(*index.get(i)?);
        first
            .into_iter()
            .for_each(|first| *first = (*first).min(position));
    }
    Some(Tensor::of(shape, Values::I32(first)))
}

/// Rows of each sample written over from its start on; those outside are left out.
pub(super) fn slice_update<T: Float>(
    x: &Tensor<T>,
    new: &Tensor<T>,
    start: &Tensor<T>,
) -> Option<Tensor<T>> {
    fn put<E: Copy>(out: &mut [E], new: &[E], starts: &[i32], shape: &Shape, count: usize) {
        let (rows, width) = (shape[1], shape[2..].iter().product::<usize>());
        for (b, &start) in starts.iter().enumerate() {
            for t in 0..count {
                let row = i64::from(start) + t as i64;
                let Some(row) = usize::try_from(row).ok().filter(|&row| row < rows) else {
                    continue;
                };
                for c in 0..width {
                    out[(b * rows + row) * width + c] = new[(b * count + t) * width + c];
                }
            }
        }
    }
    let (shape, count) = (x.shape(), *new.shape().get(1)?);
    let Values::I32(starts) = start.values() else {
        return None;
    };
    let mut values = x.values().clone();
    match (&mut values, new.values()) {
        (Values::Float(out), Values::Float(new)) => put(out, new, starts, &shape, count),
        (Values::I32(out), Values::I32(new)) => put(out, new, starts, &shape, count),
        (Values::U32(out), Values::U32(new)) => put(out, new, starts, &shape, count),
        (Values::Bool(out), Values::Bool(new)) => put(out, new, starts, &shape, count),
        _ => return None,
    }
    Some(Tensor::of(shape, values))
}
