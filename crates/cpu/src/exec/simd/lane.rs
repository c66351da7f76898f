//! Float arithmetic that compilers vectorise: no branches, no calls, polynomials from Cephes.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use gradus_graph::bf16;
use gradus_graph::ops::Real;

/// An `f32` whose functions are within 4 units in the last place and cost a few instructions.
///
/// No fused multiply-add, so that every processor gives the same bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane(pub(crate) f32);

/// `1.5 · 2²³`: adding it leaves the nearest integer in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts; the first has so few bits that its products with small integers are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Above this the float `sin` and `cos` lose accuracy; see [`Lane::is_large_angle`].
const LARGE_ANGLE: f32 = 8192.0;

macro_rules! operator {
    ($($trait:ident $method:ident $op:tt),*) => {
        $(impl $trait for Lane {
            type Output = Self;
            #[inline(always)]
            fn $method(self, y: Self) -> Self {
                Self(self.0 $op y.0)
            }
        })*
    };
}

operator!(Add add +, Sub sub -, Mul mul *, Div div /, Rem rem %);

impl Neg for Lane {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl PartialEq for Lane {
    #[inline(always)]
    fn eq(&self, y: &Self) -> bool {
        self.0 == y.0
    }
}

// All four comparisons are given: the ones derived from `partial_cmp` do not vectorise.
impl PartialOrd for Lane {
    #[inline(always)]
    fn partial_cmp(&self, y: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&y.0)
    }
    #[inline(always)]
    fn lt(&self, y: &Self) -> bool {
        self.0 < y.0
    }
    #[inline(always)]
    fn le(&self, y: &Self) -> bool {
        self.0 <= y.0
    }
    #[inline(always)]
    fn gt(&self, y: &Self) -> bool {
        self.0 > y.0
    }
    #[inline(always)]
    fn ge(&self, y: &Self) -> bool {
        self.0 >= y.0
    }
}

#[inline(always)]
fn select(condition: bool, then: f32, otherwise: f32) -> f32 {
    if condition { then } else { otherwise }
}

/// `((c₀ x + c₁) x + …) x + cₙ`
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().fold(0.0, |sum, c| sum * x + c)
}

/// `2ⁿ` for a whole number `n` in −126 ..= 127.
#[inline(always)]
fn exp2(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23).cast_unsigned())
}

/// `(n, e^r − 1)` with `x = n ln 2 + r` and `|r| ≤ ln 2 / 2`.
#[inline(always)]
fn exp_parts(x: f32) -> (i32, f32) {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = polynomial(
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ],
    );
    let bits = shifted.to_bits().cast_signed() - ROUND.to_bits().cast_signed();
    (bits, p * r * r + r)
}

#[inline(always)]
fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 or ∞ anyway. NaN fails both tests and passes.
    let x = select(x < -104.0, -104.0, select(x > 89.0, 89.0, x));
    let (n, e) = exp_parts(x);
    // Two factors, since 2ⁿ alone may be subnormal or too large.
    let half = n >> 1;
    (e + 1.0) * exp2(half) * exp2(n - half)
}

/// `e^x − 1` from `e^r − 1`, so that nothing cancels near 0.
#[inline(always)]
fn exp_m1(x: f32) -> f32 {
    let inside = select(x < -20.0, -20.0, select(x > 20.0, 20.0, x));
    let (n, e) = exp_parts(inside);
    let scale = exp2(n);
    select(x > 20.0, exp(x), scale * e + (scale - 1.0))
}

#[inline(always)]
fn ln(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let normal = select(subnormal, x * 8_388_608.0, x);
    // The mantissa in [√½, √2) and the exponent that goes with it.
    let bits = normal.to_bits().wrapping_sub(0x3F35_04F3);
    let exponent = bits.cast_signed() >> 23;
    let mantissa = f32::from_bits((bits & 0x007F_FFFF) + 0x3F35_04F3);
    #[allow(clippy::cast_precision_loss, reason = "an exponent has 8 bits")]
    let e = exponent as f32 - select(subnormal, 23.0, 0.0);
    let f = mantissa - 1.0;
    let square = f * f;
    let p = polynomial(
        f,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            0.333_333_3,
        ],
    );
    let tail = p * f * square + e * LN2_LOW - 0.5 * square;
    let y = (f + tail) + e * LN2_HIGH;
    let y = select(x == f32::INFINITY, x, y);
    let y = select(x == 0.0, f32::NEG_INFINITY, y);
    select(x < 0.0 || x.is_nan(), f32::NAN, y)
}

/// `ln(1 + x)`: what `1 + x` rounds away is put back as a factor (Higham 2002, problem 1.5).
#[inline(always)]
fn ln_1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let y = ln(u) * (x / (u - 1.0));
    select(u == 1.0 || x == f32::INFINITY, x, y)
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    // tanh rounds to 1 long before 10.
    let a = select(x.abs() > 10.0, 10.0, x.abs());
    let e = exp_m1(2.0 * a);
    (e / (e + 2.0)).copysign(x)
}

/// Source: N. Juffa's single-precision `erff` (2016).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let (a, s) = (x.abs(), x * x);
    let p = polynomial(
        a,
        [
            -1.728_534_7e-5,
            3.831_97e-4,
            -3.883_964_4e-3,
            2.425_462_2e-2,
            -1.067_778_8e-1,
            -6.348_467e-1,
            -1.287_175_1e-1,
        ],
    );
    let far = (1.0 - exp(p * a - a)).copysign(x);
    let q = polynomial(
        s,
        [
            -5.967_617e-4,
            4.991_194_2e-3,
            -2.676_813_5e-2,
            1.128_199_2e-1,
            -3.761_253_4e-1,
            1.283_791_7e-1,
        ],
    );
    // ∞ · 0 must not reach the result.
    let far = select(a > 4.0, 1f32.copysign(x), far);
    select(a > 0.927_734_4, far, q * x + x)
}

/// `sin` if `quarter` is 0, `cos` if it is 1, of angles that are not large.
#[inline(always)]
fn sine(x: f32, quarter: i32) -> f32 {
    let shifted = x * std::f32::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    // π/2 in three parts (Cephes); the first two have few bits, so their products are exact.
    let r = ((x - n * 1.570_312_5) - n * 4.837_513e-4) - n * 7.549_79e-8;
    let quadrant = shifted.to_bits().cast_signed() + quarter;
    let s = r * r;
    let sin = polynomial(s, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]) * s * r + r;
    let cos = polynomial(s, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]) * s * s - 0.5 * s;
    let y = select(quadrant & 1 == 0, sin, cos + 1.0);
    select(quadrant & 2 == 0, y, -y)
}

impl Lane {
    /// True where `sin` and `cos` need a better range reduction than this type has.
    #[inline(always)]
    pub(crate) fn is_large_angle(x: f32) -> bool {
        x.abs() >= LARGE_ANGLE
    }
}

impl Real for Lane {
    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounding is what `of` is for"
    )]
    fn of(v: f64) -> Self {
        Self(v as f32)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }
    #[inline(always)]
    fn exp(self) -> Self {
        Self(exp(self.0))
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        Self(exp_m1(self.0))
    }
    #[inline(always)]
    fn ln(self) -> Self {
        Self(ln(self.0))
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        Self(ln_1p(self.0))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    #[inline(always)]
    fn sin(self) -> Self {
        Self(sine(self.0, 0))
    }
    #[inline(always)]
    fn cos(self) -> Self {
        Self(sine(self.0, 1))
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        Self(tanh(self.0))
    }
    #[inline(always)]
    fn erf(self) -> Self {
        Self(erf(self.0))
    }
    #[inline(always)]
    fn floor(self) -> Self {
        Self(self.0.floor())
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        Self(self.0.ceil())
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.round_ties_even())
    }
    #[inline(always)]
    fn bf16(self) -> Self {
        Self(bf16::round(self.0))
    }
    fn pow(self, y: Self) -> Self {
        Self(self.0.powf(y.0))
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.0.is_nan()
    }
}

#[cfg(test)]
mod tests;
