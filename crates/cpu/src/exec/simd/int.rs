//! Pointwise ops on integers and truth values over blocks. The common ones are spelled out, so
//! that they vectorise; the others go element by element.

use gradus_graph::ops::{Binary, Unary};
use pulp::NullaryFnOnce;

use super::{Arg, map1, map2};

/// `out = op(x)` on signed integers.
pub(super) fn unary_i32(op: Unary, x: Arg<'_>, out: &mut [u32]) {
    map1(x, out, |x| op.apply_i32(x.cast_signed()).cast_unsigned());
}

/// `out = op(x)` on unsigned integers.
pub(super) fn unary_u32(op: Unary, x: Arg<'_>, out: &mut [u32]) {
    map1(x, out, |x| op.apply_u32(x));
}

/// `out = op(a, b)` on unsigned integers or truth values.
pub(super) struct Unsigned<'a> {
    pub(super) op: Binary,
    pub(super) a: Arg<'a>,
    pub(super) b: Arg<'a>,
    pub(super) out: &'a mut [u32],
}

impl NullaryFnOnce for Unsigned<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, a, b, out } = self;
        match op {
            Binary::Add => map2(a, b, out, u32::wrapping_add),
            Binary::Sub => map2(a, b, out, u32::wrapping_sub),
            Binary::Mul => map2(a, b, out, u32::wrapping_mul),
            Binary::And => map2(a, b, out, |a, b| a & b),
            Binary::Or => map2(a, b, out, |a, b| a | b),
            Binary::Xor => map2(a, b, out, |a, b| a ^ b),
            Binary::Shr => map2(a, b, out, u32::wrapping_shr),
            Binary::Eq => map2(a, b, out, |a, b| u32::from(a == b)),
            Binary::Ne => map2(a, b, out, |a, b| u32::from(a != b)),
            Binary::Lt => map2(a, b, out, |a, b| u32::from(a < b)),
            Binary::Ge => map2(a, b, out, |a, b| u32::from(a >= b)),
            _ if op.is_comparison() => map2(a, b, out, |a, b| u32::from(op.compare(a, b))),
            _ => map2(a, b, out, |a, b| op.apply_u32(a, b)),
        }
    }
}

/// `out = op(a, b)` on signed integers.
pub(super) struct Signed<'a> {
    pub(super) op: Binary,
    pub(super) a: Arg<'a, i32>,
    pub(super) b: Arg<'a, i32>,
    pub(super) out: &'a mut [u32],
}

impl NullaryFnOnce for Signed<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, a, b, out } = self;
        match op {
            Binary::Add => map2(a, b, out, |a, b| a.wrapping_add(b).cast_unsigned()),
            Binary::Sub => map2(a, b, out, |a, b| a.wrapping_sub(b).cast_unsigned()),
            Binary::Mul => map2(a, b, out, |a, b| a.wrapping_mul(b).cast_unsigned()),
            Binary::Eq => map2(a, b, out, |a, b| u32::from(a == b)),
            Binary::Ne => map2(a, b, out, |a, b| u32::from(a != b)),
            Binary::Lt => map2(a, b, out, |a, b| u32::from(a < b)),
            Binary::Ge => map2(a, b, out, |a, b| u32::from(a >= b)),
            _ if op.is_comparison() => map2(a, b, out, |a, b| u32::from(op.compare(a, b))),
            _ => map2(a, b, out, |a, b| op.apply_i32(a, b).cast_unsigned()),
        }
    }
}
