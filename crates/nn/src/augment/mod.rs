//! Changes of images that teach what does not matter: layers that act while training alone, with
//! a decision for each sample. Decisions depend on seed, layer path and step alone; they are the
//! same on every device.

mod crop;
mod cutout;
mod flip;
mod normalize;

use gradus_graph::{DType, Scope, Var};

pub use crop::RandomCrop;
pub use cutout::Cutout;
pub use flip::RandomFlip;
pub use normalize::Normalize;

/// The spatial axes of an f32 `[N, C, L]` or `[N, C, H, W]`.
fn spatial(x: Var<'_>) -> Result<Vec<usize>, String> {
    match (x.rank(), x.dtype()) {
        (3 | 4, DType::F32) => Ok(x.shape()[2..].to_vec()),
        _ => Err(format!(
            "expected f32 [N, C, L] or [N, C, H, W], found {} {}",
            x.dtype(),
            x.shape()
        )),
    }
}

/// One number for each sample beside an image, `i32` in `0..bound`, evenly.
fn below<'g>(scope: &Scope<'g>, x: Var<'g>, bound: usize) -> Var<'g> {
    let bound = u32::try_from(bound).unwrap_or(u32::MAX).max(1);
    // Off from even by less than bound / 2³².
    (per_sample(scope, x) % bound).cast(DType::I32)
}

/// True for each sample with this probability.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a probability times 2²⁴"
)]
fn chance<'g>(scope: &Scope<'g>, x: Var<'g>, probability: f64) -> Var<'g> {
    // Compared as integers, so that every device decides the same.
    let threshold = (probability * f64::from(1u32 << 24)).round() as u32;
    (per_sample(scope, x) >> 8u32).lt(threshold)
}

/// Random bits for each sample.
fn per_sample<'g>(scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
    let mut shape = vec![1; x.rank()];
    shape[0] = x.dim(0);
    scope.random(shape)
}

/// Positions along a spatial axis of a result of this rank, beside an image.
fn positions<'g>(x: Var<'g>, axis: usize, size: usize) -> Var<'g> {
    let mut shape = vec![1; x.rank()];
    shape[axis] = size;
    x.graph().iota(shape, axis)
}

/// The elements of an image at these places (`i32`, one for each spatial axis, beside a result of
/// these sizes), and `outside` where there is none.
fn take<'g>(x: Var<'g>, places: &[Var<'g>], sizes: &[usize], outside: f64) -> Var<'g> {
    let (graph, shape) = (x.graph(), x.shape());
    let result = [&shape[..2], sizes].concat();
    let stride = |axis: usize| {
        let stride: usize = shape[axis + 1..].iter().product();
        i32::try_from(stride).unwrap_or(i32::MAX)
    };
    let lead = |axis: usize| positions(x, axis, shape[axis]) * stride(axis);
    let mut index = lead(0) + lead(1);
    let mut inside = graph.full((), true);
    for (axis, &place) in (2..).zip(places) {
        let end = i32::try_from(shape[axis]).unwrap_or(i32::MAX);
        inside = inside.and(place.ge(0)).and(place.lt(end));
        index = index + place * stride(axis);
    }
    let inside = inside.expand(&result[..]);
    let index = inside.select(index, 0);
    let taken = x.reshape(shape.numel()).gather(index);
    inside.select(taken, outside)
}
