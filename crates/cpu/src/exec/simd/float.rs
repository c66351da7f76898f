//! Pointwise float ops over blocks.

use gradus_graph::ops::{Binary, Unary};
use pulp::{Arch, NullaryFnOnce};

use super::lane::Lane;
use super::{Arg, map2};

/// `out = op(x)`
pub(super) fn unary(arch: Arch, op: Unary, x: Arg<'_>, out: &mut [u32]) {
    let x: Arg<'_, f32> = x.of();
    if op == Unary::IsNan {
        return super::map1(x, out, |x| u32::from(x.is_nan()));
    }
    let out: &mut [f32] = bytemuck::cast_slice_mut(out);
    match x {
        Arg::Splat(x) => out.fill(op.apply(Lane(x)).0),
        // The fast range reduction does not reach this far.
        Arg::Slice(x)
            if matches!(op, Unary::Sin | Unary::Cos)
                && x.iter().any(|x| Lane::is_large_angle(*x)) =>
        {
            x.iter().zip(out).for_each(|(x, o)| *o = op.apply(*x));
        }
        Arg::Slice(x) => arch.dispatch(Map { op, x, out }),
    }
}

struct Map<'a> {
    op: Unary,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let items = self.x.iter().zip(self.out).map(|(x, o)| (Lane(*x), o));
        self.op.map(items, |o, y| *o = y.0);
    }
}

/// `out = op(a, b)`; comparisons give 0 or 1.
pub(super) fn binary(arch: Arch, op: Binary, a: Arg<'_>, b: Arg<'_>, out: &mut [u32]) {
    let (a, b) = (a.of(), b.of());
    if op.is_comparison() {
        return arch.dispatch(Compare { op, a, b, out });
    }
    let out = bytemuck::cast_slice_mut(out);
    arch.dispatch(Map2 { op, a, b, out });
}

struct Map2<'a> {
    op: Binary,
    a: Arg<'a, f32>,
    b: Arg<'a, f32>,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Map2<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, a, b, out } = self;
        let put = |o: &mut f32, y: Lane| *o = y.0;
        match (a, b) {
            (Arg::Slice(a), Arg::Slice(b)) => {
                let items = a.iter().zip(b).zip(out);
                op.map(items.map(|((a, b), o)| (Lane(*a), Lane(*b), o)), put);
            }
            (Arg::Slice(a), Arg::Splat(b)) => {
                op.map(a.iter().zip(out).map(|(a, o)| (Lane(*a), Lane(b), o)), put);
            }
            (Arg::Splat(a), Arg::Slice(b)) => {
                op.map(b.iter().zip(out).map(|(b, o)| (Lane(a), Lane(*b), o)), put);
            }
            (Arg::Splat(a), Arg::Splat(b)) => out.fill(op.apply(Lane(a), Lane(b)).0),
        }
    }
}

struct Compare<'a> {
    op: Binary,
    a: Arg<'a, f32>,
    b: Arg<'a, f32>,
    out: &'a mut [u32],
}

impl NullaryFnOnce for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { op, a, b, out } = self;
        match op {
            Binary::Eq => map2(a, b, out, |a, b| u32::from(a == b)),
            Binary::Ne => map2(a, b, out, |a, b| u32::from(a != b)),
            Binary::Lt => map2(a, b, out, |a, b| u32::from(a < b)),
            Binary::Le => map2(a, b, out, |a, b| u32::from(a <= b)),
            Binary::Gt => map2(a, b, out, |a, b| u32::from(a > b)),
            _ => map2(a, b, out, |a, b| u32::from(a >= b)),
        }
    }
}
