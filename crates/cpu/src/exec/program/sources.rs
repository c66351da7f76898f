//! Values that do not come from other values: from memory, from random numbers, from the step row.

use std::sync::atomic::Ordering;

use gradus_graph::{DType, philox, step_row};

use super::access::{load, load_guarded};
use super::machine::Machine;
use super::positions::Positions;
use super::run::Run;
use super::scratch::View;
use super::space::Tile;
use crate::exec::simd::{self, Arg, Key};

impl Machine<'_, '_> {
    /// The value of an operand's elements, into `out` unless they can stay where they are.
    pub(super) fn load(
        &self,
        operand: usize,
        at: &Positions,
        guard: Option<Arg<'_>>,
        copy: bool,
        tile: &Tile,
        out: &mut [u32],
    ) -> View {
        let Some(place) = self.places.get(operand) else {
            return View::Splat(0);
        };
        let (arch, memory) = (self.context.arch, self.memory.read(place));
        match guard {
            Some(Arg::Splat(0)) => return View::Splat(0),
            Some(guard @ Arg::Slice(_)) => at.grids(tile, |at, grid| {
                let out = out.get_mut(at..).unwrap_or_default();
                load_guarded(arch, memory, grid, guard, at, out);
            }),
            None | Some(Arg::Splat(_)) => {
                match at.single_run(tile) {
                    Some(run) if run.stride == 0 => return View::Splat(memory.at(run.start)),
                    Some(run) if run.stride == 1 && !copy => {
                        return View::Memory(operand, run.start);
                    }
                    _ => {}
                }
                at.grids(tile, |at, grid| {
                    load(arch, memory, grid, out.get_mut(at..).unwrap_or_default());
                });
            }
        }
        View::Own
    }

    /// The random words of a run of elements.
    pub(super) fn random(&self, stream: u64, run: Run, out: &mut [u32]) {
        let word = |i: u32| u64::from(self.context.word(i as usize));
        let seed = word(step_row::SEED_LOW) | word(step_row::SEED_HIGH) << 32;
        let key = Key {
            seed,
            stream,
            step: self.context.word(step_row::STEP as usize),
        };
        if run.stride == 1 {
            return simd::random(self.context.arch, key, low(run.start), out);
        }
        for (p, o) in run.iter().zip(out) {
            *o = philox::random_word(key.seed, key.stream, key.step, low(p));
        }
    }

    /// The sum of an operand's first elements, in order.
    pub(super) fn total(&self, operand: usize, count: usize, dtype: DType) -> u32 {
        let memory = self
            .places
            .get(operand)
            .map(|place| self.memory.read(place));
        let words = memory.and_then(|m| m.slice(0, count)).unwrap_or_default();
        if dtype != DType::F32 {
            return words.iter().fold(0, |sum, w| sum.wrapping_add(*w));
        }
        #[allow(clippy::cast_possible_truncation, reason = "the result is an f32")]
        let total = words
            .iter()
            .map(|w| f64::from(f32::from_bits(*w)))
            .sum::<f64>() as f32;
        total.to_bits()
    }

    /// Indices that are below the bound; 0 for others, of which the largest bits are reported.
    pub(super) fn check(&self, bound: u32, site: usize, x: Arg<'_>, out: &mut [u32]) {
        let mut worst = 0;
        for (i, out) in out.iter_mut().enumerate() {
            let bits = x.at(i);
            let good = bits < bound;
            *out = if good { bits } else { 0 };
            worst = worst.max(if good { 0 } else { bits });
        }
        if let (Some(error), true) = (self.context.errors.get(site), worst > 0) {
            error.fetch_max(worst, Ordering::Relaxed);
        }
    }
}

/// A position as device memory holds it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions wrap"
)]
pub(super) fn low(position: i64) -> u32 {
    position as u32
}
