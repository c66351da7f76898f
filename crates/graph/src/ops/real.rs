//! The arithmetic that pointwise formulas are written in.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use crate::bf16;

/// A real number type in which every float formula of `elementwise.rs` can be evaluated.
///
/// `f64` and `f32` are exact to their libraries' last bits and serve the oracle; an executor may
/// bring a type of its own with faster approximations.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Neg<Output = Self>
{
    /// The nearest value.
    fn of(v: f64) -> Self;
    /// `|x|`
    fn abs(self) -> Self;
    /// `eˣ`
    fn exp(self) -> Self;
    /// `eˣ − 1`
    fn exp_m1(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + x)`
    fn ln_1p(self) -> Self;
    /// `√x`
    fn sqrt(self) -> Self;
    /// Sine of radians.
    fn sin(self) -> Self;
    /// Cosine of radians.
    fn cos(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// Largest integer not above.
    fn floor(self) -> Self;
    /// Smallest integer not below.
    fn ceil(self) -> Self;
    /// Nearest integer, halves to even.
    fn round(self) -> Self;
    /// The nearest bfloat16, halves to even.
    fn bf16(self) -> Self;
    /// `xʸ`
    fn pow(self, y: Self) -> Self;
    /// True for NaN.
    fn is_nan(self) -> bool;
    /// `then` where `condition` holds.
    #[inline(always)]
    fn select(condition: bool, then: Self, otherwise: Self) -> Self {
        if condition { then } else { otherwise }
    }
    /// The larger; NaN if either is NaN.
    #[inline(always)]
    fn maximum(self, y: Self) -> Self {
        Self::select(self > y || self.is_nan(), self, y)
    }
    /// The smaller; NaN if either is NaN.
    #[inline(always)]
    fn minimum(self, y: Self) -> Self {
        Self::select(self < y || self.is_nan(), self, y)
    }
}

macro_rules! real {
    ($t:ident, $erf:path, $bf16:expr) => {
        impl Real for $t {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "rounding is what `of` is for"
            )]
            fn of(v: f64) -> Self {
                v as $t
            }
            fn abs(self) -> Self {
                $t::abs(self)
            }
            fn exp(self) -> Self {
                $t::exp(self)
            }
            fn exp_m1(self) -> Self {
                $t::exp_m1(self)
            }
            fn ln(self) -> Self {
                $t::ln(self)
            }
            fn ln_1p(self) -> Self {
                $t::ln_1p(self)
            }
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            fn sin(self) -> Self {
                $t::sin(self)
            }
            fn cos(self) -> Self {
                $t::cos(self)
            }
            fn tanh(self) -> Self {
                $t::tanh(self)
            }
            fn erf(self) -> Self {
                $erf(self)
            }
            fn floor(self) -> Self {
                $t::floor(self)
            }
            fn ceil(self) -> Self {
                $t::ceil(self)
            }
            fn round(self) -> Self {
                $t::round_ties_even(self)
            }
            fn bf16(self) -> Self {
                $bf16(self)
            }
            fn pow(self, y: Self) -> Self {
                $t::powf(self, y)
            }
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
        }
    };
}

real!(f32, libm::erff, bf16::round);
// Devices round what they hold, an `f32`.
#[allow(
    clippy::cast_possible_truncation,
    reason = "rounding is what is asked for"
)]
const NARROW: fn(f64) -> f64 = |x| f64::from(bf16::round(x as f32));
real!(f64, libm::erf, NARROW);
