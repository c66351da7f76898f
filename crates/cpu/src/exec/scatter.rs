//! Ordered sums of rows into a table.

use gradus_graph::DType;
use gradus_graph::plan::ScatterKernel;

use super::memory::{Memory, Place};

/// An ordered sum of rows into a table, ready to run.
#[derive(Debug)]
pub(super) struct Scatter {
    kernel: ScatterKernel,
    dtype: DType,
    x: Place,
    index: Place,
    out: Place,
}

impl Scatter {
    /// Prepares a sum of rows of this dtype.
    ///
    /// # Errors
    /// If an operand is too small.
    pub(super) fn new(
        kernel: &ScatterKernel,
        dtype: DType,
        places: &[Place],
    ) -> Result<Self, String> {
        let find = |operand: usize, words: usize| match places.get(operand) {
            Some(place) if place.len >= words => Ok(*place),
            _ => Err(format!(
                "operand {operand} is missing or has fewer than {words} words"
            )),
        };
        Ok(Self {
            dtype,
            x: find(kernel.x, kernel.count * kernel.width)?,
            index: find(kernel.index, kernel.count)?,
            out: find(kernel.out, kernel.rows * kernel.width)?,
            kernel: kernel.clone(),
        })
    }

    /// Computes it.
    pub(super) fn run(&self, memory: &mut Memory<'_>) {
        let ScatterKernel {
            count, rows, width, ..
        } = self.kernel;
        let x = memory.snapshot(&self.x, count * width);
        let index = memory.snapshot(&self.index, count);
        let mut out = memory.write(&self.out);
        let Some(out) = out.slice(0, rows * width) else {
            return;
        };
        // All bits 0 are 0 of every dtype.
        out.fill(0);
        for (row, &to) in x.chunks_exact(width.max(1)).zip(index.iter()) {
            let start = (to as usize).saturating_mul(width);
            // A bad index was reported and replaced when it was checked.
            let Some(sum) = out.get_mut(start..start.saturating_add(width)) else {
                continue;
            };
            if self.dtype == DType::F32 {
                let (sum, row): (&mut [f32], &[f32]) =
                    (bytemuck::cast_slice_mut(sum), bytemuck::cast_slice(row));
                sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
            } else {
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(s, x)| *s = s.wrapping_add(*x));
            }
        }
    }
}
