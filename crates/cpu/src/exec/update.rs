//! Some rows of each sample written over.

use gradus_graph::plan::UpdateKernel;

use super::memory::{Memory, Place};

/// New rows in a table, ready to run.
#[derive(Debug)]
pub(super) struct Update {
    kernel: UpdateKernel,
    x: Place,
    new: Place,
    start: Place,
    out: Place,
}

impl Update {
    /// Prepares it.
    ///
    /// # Errors
    /// If an operand is too small.
    pub(super) fn new(kernel: &UpdateKernel, places: &[Place]) -> Result<Self, String> {
        let UpdateKernel {
            batch,
            rows,
            count,
            width,
            ..
        } = *kernel;
        let find = |operand: usize, words: usize| match places.get(operand) {
            Some(place) if place.len >= words => Ok(*place),
            _ => Err(format!(
                "operand {operand} is missing or has fewer than {words} words"
            )),
        };
        Ok(Self {
            x: find(kernel.x, batch * rows * width)?,
            new: find(kernel.new, batch * count * width)?,
            start: find(kernel.start, batch)?,
            out: find(kernel.out, batch * rows * width)?,
            kernel: kernel.clone(),
        })
    }

    /// Computes it.
    pub(super) fn run(&self, memory: &mut Memory<'_>) {
        let UpdateKernel {
            batch,
            rows,
            count,
            width,
            ..
        } = self.kernel;
        let new = memory.snapshot(&self.new, batch * count * width);
        let start = memory.snapshot(&self.start, batch);
        let all = batch * rows * width;
        if !self.kernel.in_place() {
            let x = memory.snapshot(&self.x, all);
            if let Some(out) = memory.write(&self.out).slice(0, all) {
                out.copy_from_slice(&x);
            }
        }
        let mut out = memory.write(&self.out);
        let Some(out) = out.slice(0, all) else {
            return;
        };
        let samples = out
            .chunks_exact_mut((rows * width).max(1))
            .zip(new.chunks_exact((count * width).max(1)));
        for ((out, new), &start) in samples.zip(start.iter()) {
            let start = i64::from(start.cast_signed());
            for (row, new) in (start..).zip(new.chunks_exact(width.max(1))) {
                let row = usize::try_from(row).ok().filter(|&row| row < rows);
                let row = row.and_then(|row| out.get_mut(row * width..(row + 1) * width));
                if let Some(row) = row {
                    row.copy_from_slice(new);
                }
            }
        }
    }
}
