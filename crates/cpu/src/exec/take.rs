//! Takes batches from a resident data set.

use gradus_graph::plan::TakeKernel;
use gradus_graph::step_row;

use super::context::Context;
use super::memory::{Memory, Place};

/// Takes a batch from a resident data set, ready to run.
#[derive(Debug)]
pub(super) struct Take {
    count: usize,
    samples: usize,
    order: Place,
    arrays: Vec<Array>,
}

#[derive(Debug)]
struct Array {
    resident: Place,
    batch: Place,
    words: usize,
}

impl Take {
    /// Prepares it.
    ///
    /// # Errors
    /// If an operand is too small.
    pub(super) fn new(kernel: &TakeKernel, places: &[Place]) -> Result<Self, String> {
        let find = |operand: usize, words: usize| match places.get(operand) {
            Some(place) if place.len >= words => Ok(*place),
            _ => Err(format!(
                "operand {operand} is missing or has fewer than {words} words"
            )),
        };
        let arrays = kernel.arrays.iter().map(|&(resident, batch, words)| {
            Ok(Array {
                resident: find(resident, kernel.samples * words)?,
                batch: find(batch, kernel.count * words)?,
                words,
            })
        });
        Ok(Self {
            count: kernel.count,
            samples: kernel.samples,
            order: find(kernel.order, kernel.samples)?,
            arrays: arrays.collect::<Result<_, String>>()?,
        })
    }

    /// Copies the samples that the step row asks for.
    ///
    /// # Errors
    /// If there are no such samples.
    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>) -> Result<(), String> {
        let first = context.word(step_row::BATCH as usize) as usize;
        if first + self.count > self.samples {
            return Err(format!(
                "asked for samples {first} to {} of {}",
                first + self.count,
                self.samples
            ));
        }
        for array in &self.arrays {
            let operands = memory
                .read_only(&self.order)
                .zip(memory.read_only(&array.resident));
            let Some((order, resident)) = operands else {
                return Err("a data set cannot be overwritten by its batch".into());
            };
            let words = array.words;
            let order = order.slice(0, self.samples).unwrap_or_default();
            let resident = resident.slice(0, self.samples * words).unwrap_or_default();
            let mut batch = memory.write(&array.batch);
            let batch = batch.slice(0, self.count * words).unwrap_or_default();
            let samples = order.iter().skip(first);
            for (out, &sample) in batch.chunks_exact_mut(words.max(1)).zip(samples) {
                let start = (sample as usize).saturating_mul(words);
                let Some(values) = resident.get(start..start.saturating_add(words)) else {
                    return Err(format!(
                        "the order names sample {sample} of {}",
                        self.samples
                    ));
                };
                out.copy_from_slice(values);
            }
        }
        Ok(())
    }
}
