//! Two float ops in one loop.

use gradus_graph::ops::Binary;
use pulp::{Arch, NullaryFnOnce};

use super::Arg;

/// True if `(a inner b) outer c` has a loop of its own.
pub(crate) fn is_fused(inner: Binary, outer: Binary) -> bool {
    use Binary::{Add, Mul, Sub};
    matches!((inner, outer), (Mul, Add | Sub | Mul) | (Add | Sub, Mul))
}

/// `(a inner b) outer c`, or `c outer (a inner b)` if flipped.
pub(crate) fn fused(
    arch: Arch,
    ops: [Binary; 2],
    flipped: bool,
    args: [Arg<'_>; 3],
    out: &mut [u32],
) {
    let args = args.map(Arg::of);
    let out = bytemuck::cast_slice_mut(out);
    arch.dispatch(Fused {
        ops,
        flipped,
        args,
        out,
    });
}

struct Fused<'a> {
    ops: [Binary; 2],
    flipped: bool,
    args: [Arg<'a, f32>; 3],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Fused<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        use Binary::{Add, Mul, Sub};
        let Self {
            ops,
            flipped,
            args,
            out,
        } = self;
        match (ops, flipped) {
            ([Mul, Add], _) => map3(args, out, |a, b, c| a * b + c),
            ([Mul, Sub], false) => map3(args, out, |a, b, c| a * b - c),
            ([Mul, Sub], true) => map3(args, out, |a, b, c| c - a * b),
            ([Mul, Mul], _) => map3(args, out, |a, b, c| a * b * c),
            ([Add, Mul], _) => map3(args, out, |a, b, c| (a + b) * c),
            ([Sub, Mul], _) => map3(args, out, |a, b, c| (a - b) * c),
            _ => {}
        }
    }
}

/// Stores `f` of every triple.
#[inline(always)]
fn map3(args: [Arg<'_, f32>; 3], out: &mut [f32], f: impl Fn(f32, f32, f32) -> f32) {
    use Arg::{Slice, Splat};
    let [a, b, c] = args;
    match (a, b, c) {
        (Slice(a), Slice(b), Slice(c)) => {
            let items = a.iter().zip(b).zip(c).zip(out);
            items.for_each(|(((a, b), c), o)| *o = f(*a, *b, *c));
        }
        (Slice(a), Slice(b), Splat(c)) => {
            let items = a.iter().zip(b).zip(out);
            items.for_each(|((a, b), o)| *o = f(*a, *b, c));
        }
        (Slice(a), Splat(b), Slice(c)) => {
            let items = a.iter().zip(c).zip(out);
            items.for_each(|((a, c), o)| *o = f(*a, b, *c));
        }
        (Slice(a), Splat(b), Splat(c)) => {
            a.iter().zip(out).for_each(|(a, o)| *o = f(*a, b, c));
        }
        (Splat(a), Slice(b), Slice(c)) => {
            let items = b.iter().zip(c).zip(out);
            items.for_each(|((b, c), o)| *o = f(a, *b, *c));
        }
        (Splat(a), Slice(b), Splat(c)) => {
            b.iter().zip(out).for_each(|(b, o)| *o = f(a, *b, c));
        }
        (Splat(a), Splat(b), Slice(c)) => {
            c.iter().zip(out).for_each(|(c, o)| *o = f(a, b, *c));
        }
        (Splat(a), Splat(b), Splat(c)) => out.fill(f(a, b, c)),
    }
}
