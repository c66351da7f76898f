//! Initializers: how parameters start. Values are made on the host, the same on every machine.
//!
//! Fans follow PyTorch: a weight `[out, in, k…]` has `fan_in = in · Πk` and `fan_out = out · Πk`;
//! a vector has its length for both.

use std::sync::Arc;

use gradus_graph::philox::Rng;
use gradus_graph::{Init, Shape};

/// All zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeros;

/// All ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ones;

/// One value everywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant(pub f64);

/// Normal with this mean and standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, ≥ 0.
    pub std: f64,
}

/// Uniform in `[low, high)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Uniform in `±gain·√(6 / (fan_in + fan_out))`.
///
/// Source: Glorot & Bengio (2010), eq. 16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XavierUniform {
    /// Factor, 1 for linear layers.
    pub gain: f64,
}

/// Normal with standard deviation `gain·√(2 / (fan_in + fan_out))`.
///
/// Source: Glorot & Bengio (2010), eq. 12.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XavierNormal {
    /// Factor, 1 for linear layers.
    pub gain: f64,
}

/// Uniform in `±gain·√(3 / fan)` with `gain = √(2 / (1 + slope²))`: for layers before a ReLU, or
/// a leaky one of this slope.
///
/// Source: He, Zhang, Ren & Sun (2015), arXiv:1502.01852, eq. 14.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct KaimingUniform(Kaiming);

/// Normal with standard deviation `gain / √fan`; see [`KaimingUniform`].
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct KaimingNormal(Kaiming);

#[derive(Clone, Copy, Debug, PartialEq, Default)]
struct Kaiming {
    slope: f64,
    fan_out: bool,
}

impl Kaiming {
    /// The standard deviation for this shape.
    fn std(self, shape: &Shape) -> f64 {
        let (fan_in, fan_out) = fans(shape);
        let fan = if self.fan_out { fan_out } else { fan_in };
        (2.0 / (1.0 + self.slope * self.slope) / fan).sqrt()
    }
}

macro_rules! kaiming {
    ($($name:ident),*) => {$(
        impl $name {
            /// For a plain ReLU, preserving the variance of the forward pass.
            pub fn new() -> Self {
                Self::default()
            }

            /// For a leaky ReLU of this slope.
            #[must_use]
            pub const fn slope(mut self, slope: f64) -> Self {
                self.0.slope = slope;
                self
            }

            /// Preserves the variance of the backward pass instead: `fan = fan_out`.
            #[must_use]
            pub const fn fan_out(mut self) -> Self {
                self.0.fan_out = true;
                self
            }
        }
    )*};
}

kaiming!(KaimingUniform, KaimingNormal);

impl Normal {
    /// Mean 0 and this standard deviation.
    pub const fn with_std(std: f64) -> Self {
        Self { mean: 0.0, std }
    }
}

impl Uniform {
    /// Uniform in `±bound`.
    pub const fn within(bound: f64) -> Self {
        Self {
            low: -bound,
            high: bound,
        }
    }
}

impl XavierUniform {
    /// Gain 1.
    pub const fn new() -> Self {
        Self { gain: 1.0 }
    }
}

impl XavierNormal {
    /// Gain 1.
    pub const fn new() -> Self {
        Self { gain: 1.0 }
    }
}

impl Default for XavierUniform {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for XavierNormal {
    fn default() -> Self {
        Self::new()
    }
}

impl Init for Zeros {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        Constant(0.0).sample(shape, rng)
    }
}

impl Init for Ones {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        Constant(1.0).sample(shape, rng)
    }
}

impl Init for Constant {
    fn sample(&self, shape: &Shape, _: &mut Rng) -> Vec<f32> {
        fill(shape, || self.0)
    }
}

impl Init for Normal {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        fill(shape, || self.mean + self.std * rng.normal())
    }
}

impl Init for Uniform {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        fill(shape, || self.low + (self.high - self.low) * rng.uniform())
    }
}

impl Init for XavierUniform {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        let (fan_in, fan_out) = fans(shape);
        Uniform::within(self.gain * (6.0 / (fan_in + fan_out)).sqrt()).sample(shape, rng)
    }
}

impl Init for XavierNormal {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        let (fan_in, fan_out) = fans(shape);
        Normal::with_std(self.gain * (2.0 / (fan_in + fan_out)).sqrt()).sample(shape, rng)
    }
}

impl Init for KaimingUniform {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        Uniform::within(3f64.sqrt() * self.0.std(shape)).sample(shape, rng)
    }
}

impl Init for KaimingNormal {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        Normal::with_std(self.0.std(shape)).sample(shape, rng)
    }
}

/// An initializer that a layer shares with the graphs it is traced into.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<dyn Init>);

impl Init for Shared {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        self.0.sample(shape, rng)
    }
}

/// `(fan_in, fan_out)`, at least 1 each.
fn fans(shape: &Shape) -> (f64, f64) {
    let (out, rest) = match shape.split_first() {
        Some((&out, rest)) => (out, rest),
        None => (1, &[][..]),
    };
    let (fan_in, field) = match rest.split_first() {
        Some((&fan_in, kernel)) => (fan_in, kernel.iter().product()),
        None => (out, 1),
    };
    let fan = |n: usize| (n * field).max(1) as f64;
    (fan(fan_in), fan(out))
}

#[allow(clippy::cast_possible_truncation, reason = "parameters are f32")]
fn fill(shape: &Shape, mut value: impl FnMut() -> f64) -> Vec<f32> {
    (0..shape.numel()).map(|_| value() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(init: &dyn Init, dims: &[usize]) -> (f64, f64, f64) {
        let shape = Shape::try_new(dims).unwrap();
        let values = init.sample(&shape, &mut Rng::new(7, 1));
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let var = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n;
        let most = values
            .iter()
            .map(|v| f64::from(v.abs()))
            .fold(0.0, f64::max);
        (mean, var.sqrt(), most)
    }

    fn near(a: f64, b: f64) {
        assert!(
            (a - b).abs() < 0.02 * b.abs().max(0.01),
            "{a} is not near {b}"
        );
    }

    /// Bounds and deviations by the formulas of the documentation, on a convolution's weight.
    #[test]
    fn spread_follows_the_fans() {
        let dims = [40, 20, 3, 5]; // fan_in 300, fan_out 600
        near(
            moments(&KaimingUniform::new(), &dims).2,
            (6f64 / 300.0).sqrt(),
        );
        near(
            moments(&KaimingUniform::new().fan_out(), &dims).2,
            (6f64 / 600.0).sqrt(),
        );
        near(
            moments(&KaimingNormal::new(), &dims).1,
            (2f64 / 300.0).sqrt(),
        );
        near(
            moments(&XavierUniform::new(), &dims).2,
            (6f64 / 900.0).sqrt(),
        );
        near(
            moments(&XavierNormal { gain: 2.0 }, &dims).1,
            2.0 * (2f64 / 900.0).sqrt(),
        );
        let slope = KaimingUniform::new().slope(5f64.sqrt());
        near(moments(&slope, &dims).2, 1.0 / 300f64.sqrt());
    }

    #[test]
    fn plain_distributions() {
        assert_eq!(moments(&Zeros, &[3]), (0.0, 0.0, 0.0));
        assert_eq!(moments(&Ones, &[3]).0, 1.0);
        let (mean, std, _) = moments(
            &Normal {
                mean: 1.0,
                std: 0.5,
            },
            &[10_000],
        );
        near(mean, 1.0);
        near(std, 0.5);
        let (mean, _, most) = moments(
            &Uniform {
                low: 0.0,
                high: 2.0,
            },
            &[10_000],
        );
        near(mean, 1.0);
        near(most, 2.0);
    }
}
