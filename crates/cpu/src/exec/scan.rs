//! Running results along an axis. Floats are carried in f64, as long sums are.

use gradus_graph::DType;
use gradus_graph::ops::Scanning;
use gradus_graph::plan::ScanKernel;

use super::memory::{Memory, Place};

/// A scan, ready to run.
#[derive(Debug)]
pub(super) struct Scan {
    kernel: ScanKernel,
    dtype: DType,
    a: Option<Place>,
    x: Place,
    out: Place,
}

impl Scan {
    /// Prepares a scan of elements of this dtype.
    ///
    /// # Errors
    /// If an operand is too small.
    pub(super) fn new(kernel: &ScanKernel, dtype: DType, places: &[Place]) -> Result<Self, String> {
        let words = kernel.outer * kernel.length * kernel.inner;
        let find = |operand: usize| match places.get(operand) {
            Some(place) if place.len >= words => Ok(*place),
            _ => Err(format!("operand {operand} has fewer than {words} words")),
        };
        Ok(Self {
            dtype,
            a: kernel.a.map(find).transpose()?,
            x: find(kernel.x)?,
            out: find(kernel.out)?,
            kernel: kernel.clone(),
        })
    }

    /// Computes it.
    pub(super) fn run(&self, memory: &mut Memory<'_>) {
        let k = &self.kernel;
        let words = k.outer * k.length * k.inner;
        let x = memory.snapshot(&self.x, words);
        let a = self.a.map(|a| memory.snapshot(&a, words));
        let a = a.as_deref().unwrap_or(&x);
        let mut out = memory.write(&self.out);
        let Some(out) = out.slice(0, words) else {
            return;
        };
        let block = (k.length * k.inner).max(1);
        let blocks = x.chunks_exact(block).zip(a.chunks_exact(block));
        for ((x, a), out) in blocks.zip(out.chunks_exact_mut(block)) {
            match self.dtype {
                DType::F32 => self.floats(x, a, out),
                DType::I32 => self.words(x, a, out, |a, b| {
                    a.cast_signed().max(b.cast_signed()).cast_unsigned()
                }),
                _ => self.words(x, a, out, u32::max),
            }
        }
    }

    /// One block of `[length, inner]` floats.
    fn floats(&self, x: &[u32], a: &[u32], out: &mut [u32]) {
        let (x, a): (&[f32], &[f32]) = (bytemuck::cast_slice(x), bytemuck::cast_slice(a));
        let out: &mut [f32] = bytemuck::cast_slice_mut(out);
        let wide = |v: f32| f64::from(v);
        match self.kernel.op {
            Scanning::Sum => self.carry(x, a, out, wide, |old, _, x| old + wide(x)),
            Scanning::Prod => self.carry(x, a, out, wide, |old, _, x| old * wide(x)),
            Scanning::Linear => self.carry(x, a, out, wide, |old, a, x| wide(a) * old + wide(x)),
            Scanning::Max => self.carry(x, a, out, wide, |old, _, x| {
                let x = wide(x);
                if x > old || x.is_nan() { x } else { old }
            }),
        }
    }

    /// One block of `[length, inner]` integers.
    fn words(&self, x: &[u32], a: &[u32], out: &mut [u32], max: impl Fn(u32, u32) -> u32) {
        let same = |v: u32| v;
        match self.kernel.op {
            Scanning::Sum => self.carry(x, a, out, same, |old, _, x| old.wrapping_add(x)),
            Scanning::Prod => self.carry(x, a, out, same, |old, _, x| old.wrapping_mul(x)),
            Scanning::Max => self.carry(x, a, out, same, |old, _, x| max(old, x)),
            Scanning::Linear => self.carry(x, a, out, same, |old, a, x| {
                a.wrapping_mul(old).wrapping_add(x)
            }),
        }
    }

    /// Walks the axis, all lines beside each other.
    #[inline(always)]
    fn carry<E: Copy + From32<C>, C: Copy>(
        &self,
        x: &[E],
        a: &[E],
        out: &mut [E],
        first: impl Fn(E) -> C,
        take_in: impl Fn(C, E, E) -> C,
    ) {
        let (length, inner) = (self.kernel.length, self.kernel.inner);
        let mut carried: Vec<C> = Vec::new();
        for step in 0..length {
            let at = if self.kernel.reverse {
                length - 1 - step
            } else {
                step
            };
            let row = at * inner..(at + 1) * inner;
            let (Some(x), Some(a), Some(out)) =
                (x.get(row.clone()), a.get(row.clone()), out.get_mut(row))
            else {
                return;
            };
            if step == 0 {
                carried.extend(x.iter().map(|&x| first(x)));
            } else {
                for ((c, &x), &a) in carried.iter_mut().zip(x).zip(a) {
                    *c = take_in(*c, a, x);
                }
            }
            out.iter_mut()
                .zip(&carried)
                .for_each(|(o, &c)| *o = E::from32(c));
        }
    }
}

/// What is carried, as it is stored.
trait From32<C> {
    fn from32(carried: C) -> Self;
}

impl From32<f64> for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "the result is an f32")]
    fn from32(carried: f64) -> Self {
        carried as Self
    }
}

impl From32<u32> for u32 {
    fn from32(carried: u32) -> Self {
        carried
    }
}
