//! Initial values of parameters.

use std::fmt::Debug;

use crate::Shape;
use crate::philox::Rng;

/// How a parameter starts. Values are made on the host, so they are the same everywhere.
pub trait Init: Debug + Send + Sync {
    /// Row-major values for a parameter of this shape.
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32>;
}
