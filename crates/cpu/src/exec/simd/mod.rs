//! Loops over blocks of elements, compiled for the vectors of the processor that runs them.

mod cast;
mod float;
mod fused;
mod int;
mod lane;
mod lines;
mod random;
mod reduce;
mod shifts;
mod strided;
mod transpose;
mod weave;

pub(super) use cast::cast;
pub(super) use fused::{fused, is_fused};
pub(super) use lane::Lane;
pub(super) use lines::{collect_lines, spread_lines};
pub(super) use random::{Key, random};
pub(super) use reduce::{Block, beyond, extremes, first_extremes, sums};
pub(super) use shifts::{SHORTEST, Shifted, outputs_at_once, shifted_products, shifted_sums};
pub(super) use strided::{Strided, gather, scatter};
pub(super) use transpose::{Rows, TRANSPOSED, transpose};
pub(super) use weave::{Columns, WOVEN, weave};

use bytemuck::Pod;
use gradus_graph::DType;
use gradus_graph::ops::{Binary, Unary};
use pulp::{Arch, NullaryFnOnce};

/// A block of elements, or one that stands for all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a, T = u32> {
    /// One for each element.
    Slice(&'a [T]),
    /// The same for every element.
    Splat(T),
}

impl<'a> Arg<'a> {
    /// The same bits as another type.
    fn of<T: Pod>(self) -> Arg<'a, T> {
        match self {
            Arg::Slice(s) => Arg::Slice(bytemuck::cast_slice(s)),
            Arg::Splat(v) => Arg::Splat(bytemuck::cast(v)),
        }
    }

    /// The element at a position; 0 outside.
    pub(super) fn at(self, i: usize) -> u32 {
        match self {
            Arg::Slice(s) => s.get(i).copied().unwrap_or(0),
            Arg::Splat(v) => v,
        }
    }
}

/// Stores `f` of every element.
#[inline(always)]
fn map1<T: Copy, O>(x: Arg<'_, T>, out: &mut [O], f: impl Fn(T) -> O) {
    match x {
        Arg::Slice(x) => x.iter().zip(out).for_each(|(x, o)| *o = f(*x)),
        Arg::Splat(x) => out.iter_mut().for_each(|o| *o = f(x)),
    }
}

/// Stores `f` of every pair.
#[inline(always)]
fn map2<T: Copy, O>(a: Arg<'_, T>, b: Arg<'_, T>, out: &mut [O], f: impl Fn(T, T) -> O) {
    match (a, b) {
        (Arg::Slice(a), Arg::Slice(b)) => {
            a.iter()
                .zip(b)
                .zip(out)
                .for_each(|((a, b), o)| *o = f(*a, *b));
        }
        (Arg::Slice(a), Arg::Splat(b)) => a.iter().zip(out).for_each(|(a, o)| *o = f(*a, b)),
        (Arg::Splat(a), b) => map1(b, out, |b| f(a, b)),
    }
}

/// A pointwise op of one argument of this dtype.
pub(super) fn unary(arch: Arch, op: Unary, dtype: DType, x: Arg<'_>, out: &mut [u32]) {
    match (dtype, op) {
        (DType::F32, _) => float::unary(arch, op, x, out),
        (DType::I32, _) => int::unary_i32(op, x, out),
        (DType::U32, _) => int::unary_u32(op, x, out),
        (DType::Bool, _) => map1(x, out, |x| x ^ 1),
    }
}

/// A pointwise op of two arguments of this dtype; comparisons give 0 or 1.
pub(super) fn binary(
    arch: Arch,
    op: Binary,
    dtype: DType,
    a: Arg<'_>,
    b: Arg<'_>,
    out: &mut [u32],
) {
    match dtype {
        DType::F32 => float::binary(arch, op, a, b, out),
        DType::I32 => arch.dispatch(int::Signed {
            op,
            a: a.of(),
            b: b.of(),
            out,
        }),
        // Truth values are 0 and 1, and the logical ops are the bitwise ones.
        DType::U32 | DType::Bool => arch.dispatch(int::Unsigned { op, a, b, out }),
    }
}

/// `then` where the condition holds, else `otherwise`.
pub(super) fn select(
    arch: Arch,
    condition: Arg<'_>,
    then: Arg<'_>,
    otherwise: Arg<'_>,
    out: &mut [u32],
) {
    arch.dispatch(Blend {
        condition,
        then,
        otherwise,
        out,
    });
}

struct Blend<'a> {
    condition: Arg<'a>,
    then: Arg<'a>,
    otherwise: Arg<'a>,
    out: &'a mut [u32],
}

impl NullaryFnOnce for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let pick = |c: u32, a: u32, b: u32| if c != 0 { a } else { b };
        let Arg::Slice(c) = self.condition else {
            let taken = if self.condition.at(0) != 0 {
                self.then
            } else {
                self.otherwise
            };
            return map1(taken, self.out, |x| x);
        };
        let places = c.iter().zip(self.out);
        match (self.then, self.otherwise) {
            (Arg::Slice(a), Arg::Slice(b)) => {
                places
                    .zip(a)
                    .zip(b)
                    .for_each(|(((c, o), a), b)| *o = pick(*c, *a, *b));
            }
            (Arg::Slice(a), Arg::Splat(b)) => {
                places.zip(a).for_each(|((c, o), a)| *o = pick(*c, *a, b));
            }
            (Arg::Splat(a), Arg::Slice(b)) => {
                places.zip(b).for_each(|((c, o), b)| *o = pick(*c, a, *b));
            }
            (Arg::Splat(a), Arg::Splat(b)) => places.for_each(|(c, o)| *o = pick(*c, a, b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use gradus_graph::philox::Rng;

    use super::*;

    /// Whatever the vectors of the processor, the bits are the same.
    #[test]
    fn all_processors_give_the_same_bits() {
        let mut rng = Rng::new(1, 0);
        let mut noise = || -> Vec<u32> {
            (0..1003)
                .map(|_| (rng.normal() as f32 * 3.0).to_bits())
                .collect()
        };
        let (a, b) = (noise(), noise());
        let (a, b) = (Arg::Slice(a.as_slice()), Arg::Slice(b.as_slice()));
        let both = |f: &dyn Fn(Arch, &mut [u32])| {
            let outs = [Arch::Scalar, Arch::new()].map(|arch| {
                let mut out = vec![0; 1003];
                f(arch, &mut out);
                out
            });
            assert!(outs[0] == outs[1] || same_but_nan(&outs));
        };
        for op in Unary::ALL {
            both(&|arch, out| unary(arch, *op, DType::F32, a, out));
        }
        for op in Binary::ALL {
            for dtype in [DType::F32, DType::I32, DType::U32] {
                both(&|arch, out| binary(arch, *op, dtype, a, b, out));
            }
        }
        let block = |x| Block {
            x,
            rows: 17,
            cols: 59,
            row_major: true,
        };
        let Arg::Slice(x) = a.of::<f32>() else { return };
        let sums_of = |arch| {
            let mut sums = vec![0.0; 17];
            super::sums(arch, block(x), &mut sums);
            sums
        };
        assert_eq!(sums_of(Arch::Scalar), sums_of(Arch::new()));
    }

    /// Which NaN an operation gives is left to the processor.
    fn same_but_nan(outs: &[Vec<u32>; 2]) -> bool {
        let nan = |x: u32| f32::from_bits(x).is_nan();
        outs[0]
            .iter()
            .zip(&outs[1])
            .all(|(x, y)| x == y || (nan(*x) && nan(*y)))
    }
}
