//! The order of elements: every row, or each run of it, is sorted with its positions.

use gradus_graph::DType;
use gradus_graph::plan::SortKernel;

use super::memory::{Memory, Place};

/// A sort, ready to run.
#[derive(Debug)]
pub(super) struct Sort {
    kernel: SortKernel,
    dtype: DType,
    x: Place,
    out: Place,
}

impl Sort {
    /// Prepares a sort by elements of this dtype.
    ///
    /// # Errors
    /// If an operand is too small.
    pub(super) fn new(kernel: &SortKernel, dtype: DType, places: &[Place]) -> Result<Self, String> {
        let words = kernel.rows * kernel.length;
        let find = |operand: usize| match places.get(operand) {
            Some(place) if place.len >= words => Ok(*place),
            _ => Err(format!("operand {operand} has fewer than {words} words")),
        };
        Ok(Self {
            dtype,
            x: find(kernel.x)?,
            out: find(kernel.out)?,
            kernel: kernel.clone(),
        })
    }

    /// Computes it.
    pub(super) fn run(&self, memory: &mut Memory<'_>) {
        let SortKernel {
            rows, length, run, ..
        } = self.kernel;
        let x = memory.snapshot(&self.x, rows * length);
        let mut out = memory.write(&self.out);
        let Some(out) = out.slice(0, rows * length) else {
            return;
        };
        let mut pairs: Vec<u64> = Vec::with_capacity(run.min(length));
        let both = x.chunks_exact(length.max(1));
        for (x, out) in both.zip(out.chunks_exact_mut(length.max(1))) {
            let runs = x.chunks(run.max(1)).zip(out.chunks_mut(run.max(1)));
            let mut first = 0u32;
            for (x, out) in runs {
                // A position in the low half: equal elements keep their order.
                pairs.clear();
                let paired = x.iter().zip(first..);
                pairs.extend(paired.map(|(&x, at)| u64::from(self.key(x)) << 32 | u64::from(at)));
                pairs.sort_unstable();
                for (out, pair) in out.iter_mut().zip(&pairs) {
                    *out = u32::try_from(pair & u64::from(u32::MAX)).unwrap_or(0);
                }
                first += u32::try_from(x.len()).unwrap_or(0);
            }
        }
    }

    /// A number that is as large among others as the element is.
    fn key(&self, x: u32) -> u32 {
        const SIGN: u32 = 1 << 31;
        let key = match self.dtype {
            DType::F32 => match f32::from_bits(x) {
                v if v.is_nan() => u32::MAX,
                0.0 => SIGN,
                _ if x & SIGN != 0 => !x,
                _ => x | SIGN,
            },
            DType::I32 => x ^ SIGN,
            _ => x,
        };
        if self.kernel.descending { !key } else { key }
    }
}
