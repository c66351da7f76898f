//! Ops that read no other node.

use gradus_graph::backend::StepRow;
use gradus_graph::{Scalar, Shape, philox, step_row};

use super::tensor::{Float, Tensor, Values, strided};

/// The value fed for a leaf.
pub(super) fn leaf<T: Float>(feeds: &[Tensor<T>], index: u32) -> Option<Tensor<T>> {
    feeds.get(index as usize).cloned()
}

/// Positions along one axis.
pub(super) fn iota<T: Float>(shape: Shape, axis: usize) -> Tensor<T> {
    let strides: Vec<usize> = (0..shape.rank()).map(|a| usize::from(a == axis)).collect();
    let positions = strided(&shape, 0, &strides);
    let value = |p| i32::try_from(p).unwrap_or(i32::MAX);
    Tensor::of(
        shape,
        Values::I32(positions.into_iter().map(value).collect()),
    )
}

/// Random bits of this step: the counter is the row-major position.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the counter of the position has 32 bits"
)]
pub(super) fn random<T: Float>(shape: Shape, stream: u64, row: &StepRow) -> Tensor<T> {
    let word = |at: u32| row.get(at as usize).copied().unwrap_or(0);
    let low = u64::from(word(step_row::SEED_LOW));
    let seed = low | (u64::from(word(step_row::SEED_HIGH)) << 32);
    let step = word(step_row::STEP);
    let bits = (0..shape.numel()).map(|i| philox::random_word(seed, stream, step, i as u32));
    Tensor::of(shape, Values::U32(bits.collect()))
}

/// A word of the step row.
pub(super) fn step_word<T: Float>(word: u32, row: &StepRow) -> Option<Tensor<T>> {
    let bits = row.get(word as usize)?;
    let value = f64::from(f32::from_bits(*bits));
    Some(Tensor::full(Shape::SCALAR, Scalar::F32(value)))
}
