//! Ordered sums of rows into a table, and where each row is named first.

use gradus_graph::DType;
use gradus_graph::plan::ScatterKernel;

use super::memory::{Memory, Place};

/// A walk over positions that name rows of a table, ready to run.
#[derive(Debug)]
pub(super) struct Scatter {
    kernel: ScatterKernel,
    dtype: DType,
    x: Option<Place>,
    index: Place,
    order: Option<Place>,
    out: Place,
}

impl Scatter {
    /// Prepares it; rows that are summed have this dtype.
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
        let ScatterKernel {
            count, rows, width, ..
        } = *kernel;
        // Sums are in ascending order of position already.
        let order = kernel.order.filter(|_| kernel.x.is_none());
        Ok(Self {
            dtype,
            x: kernel.x.map(|x| find(x, count * width)).transpose()?,
            index: find(kernel.index, count)?,
            order: order.map(|order| find(order, count)).transpose()?,
            out: find(kernel.out, rows * width)?,
            kernel: kernel.clone(),
        })
    }

    /// Computes it.
    pub(super) fn run(&self, memory: &mut Memory<'_>) {
        let ScatterKernel {
            count, rows, width, ..
        } = self.kernel;
        let index = memory.snapshot(&self.index, count);
        let x = self.x.map(|x| memory.snapshot(&x, count * width));
        let order = self.order.map(|order| memory.snapshot(&order, count));
        let mut out = memory.write(&self.out);
        let Some(out) = out.slice(0, rows * width) else {
            return;
        };
        match x {
            Some(x) => self.sum(&x, &index, out),
            None => first_positions(&index, order.as_deref(), out),
        }
    }

    fn sum(&self, x: &[u32], index: &[u32], out: &mut [u32]) {
        let width = self.kernel.width;
        // All bits 0 are 0 of every dtype.
        out.fill(0);
        for (row, &to) in x.chunks_exact(width.max(1)).zip(index) {
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

fn first_positions(index: &[u32], order: Option<&[u32]>, out: &mut [u32]) {
    let number = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
    out.fill(number(index.len()));
    // Backwards, so that the first is written last.
    for position in (0..index.len()).rev() {
        let i = match order {
            Some(order) => order.get(position).map(|&i| i as usize),
            None => Some(position),
        };
        let row = i.and_then(|i| index.get(i));
        if let Some(first) = row.and_then(|&row| out.get_mut(row as usize)) {
            *first = number(position);
        }
    }
}
