//! Runs steps over tiles.

use std::sync::atomic::{AtomicU32, Ordering};

use gradus_graph::backend::StepRow;
use gradus_graph::{DType, philox, step_row};
use pulp::Arch;

use super::access::{load, load_guarded, load_rows, store};
use super::fold::Accumulator;
use super::positions::{Order, Positions, Run, Space, Tile};
use super::step::{Fold, Source, Step, Work, Write};
use crate::exec::memory::{Memory, Place};
use crate::exec::simd::{self, Arg, Key};
use crate::exec::words::Words;

/// What a step of training gives to its kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The vectors of this processor.
    pub(crate) arch: Arch,
    /// Uniform data.
    pub(crate) row: &'a StepRow,
    /// One word for each index check.
    pub(crate) errors: &'a [AtomicU32],
    /// True if the step is large enough for several threads.
    pub(crate) threads: bool,
}

impl Context<'_> {
    /// A word of the step row.
    pub(crate) fn word(&self, word: usize) -> u32 {
        self.row.get(word).copied().unwrap_or(0)
    }
}

/// Registers and accumulators of one thread, for any program.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    registers: Vec<Words>,
    views: Vec<View>,
    accumulators: Vec<Accumulator>,
}

/// Where the value of a register really is.
#[derive(Clone, Copy, Debug, Default)]
enum View {
    /// In the register.
    #[default]
    Own,
    /// In an operand, from this element on.
    Memory(usize, i64),
    /// The same for every element.
    Splat(u32),
}

impl Scratch {
    /// Makes room for a program.
    pub(super) fn prepare(&mut self, registers: usize, block: usize, folds: usize) {
        if self.registers.len() < registers {
            self.registers.resize_with(registers, Words::default);
            self.views.resize(registers, View::Own);
        }
        self.registers
            .iter_mut()
            .take(registers)
            .for_each(|r| r.grow(block));
        if self.accumulators.len() < folds {
            self.accumulators.resize_with(folds, Accumulator::default);
        }
    }

    /// The values of a source, or where they are in memory.
    fn value(&self, source: Source, len: usize) -> Result<Arg<'_>, (usize, i64)> {
        let (Source::Block(register) | Source::First(register)) = source else {
            let Source::Const(value) = source else {
                return Ok(Arg::Splat(0));
            };
            return Ok(Arg::Splat(value));
        };
        let own = self.registers.get(register);
        match self.views.get(register).copied().unwrap_or_default() {
            View::Splat(value) => Ok(Arg::Splat(value)),
            View::Memory(operand, at) => Err((operand, at)),
            View::Own => Ok(match source {
                Source::Block(_) => Arg::Slice(own.and_then(|r| r.get(..len)).unwrap_or_default()),
                _ => Arg::Splat(own.and_then(|r| r.first()).copied().unwrap_or(0)),
            }),
        }
    }
}

/// One thread at work on one program.
pub(super) struct Machine<'a, 'm> {
    pub(super) space: &'a Space,
    pub(super) places: &'a [Place],
    pub(super) context: Context<'a>,
    pub(super) memory: &'a mut Memory<'m>,
    pub(super) scratch: &'a mut Scratch,
}

impl Machine<'_, '_> {
    /// Runs steps over a tile.
    pub(super) fn steps(&mut self, steps: &[Step], tile: &Tile) {
        for step in steps {
            // Taken out, so that the sources can be read while it is written.
            let register = self.scratch.registers.get_mut(step.dst);
            let mut out = register.map(std::mem::take).unwrap_or_default();
            let view = match out.get_mut(..tile.len()) {
                Some(out) => self.step(&step.work, tile, out),
                None => View::Own,
            };
            if let Some(register) = self.scratch.registers.get_mut(step.dst) {
                *register = out;
            }
            if let Some(place) = self.scratch.views.get_mut(step.dst) {
                *place = view;
            }
        }
    }

    /// Makes accumulators ready for some rows.
    pub(super) fn start_folds(&mut self, folds: &[Fold], rows: usize) {
        let accumulators = self.scratch.accumulators.iter_mut();
        folds
            .iter()
            .zip(accumulators)
            .for_each(|(f, a)| a.start(f, rows));
    }

    /// Takes a tile into the accumulators.
    pub(super) fn add_folds(&mut self, folds: &[Fold], tile: &Tile) {
        let mut accumulators = std::mem::take(&mut self.scratch.accumulators);
        for (fold, accumulator) in folds.iter().zip(&mut accumulators) {
            let x = self.fetch(fold.x, tile.len());
            accumulator.add(self.context.arch, fold, tile, x);
        }
        self.scratch.accumulators = accumulators;
    }

    /// Puts the results of accumulators into registers.
    pub(super) fn finish_folds(&mut self, folds: &[Fold], rows: usize) {
        let Scratch {
            registers,
            views,
            accumulators,
        } = &mut *self.scratch;
        for (fold, accumulator) in folds.iter().zip(accumulators) {
            if let Some(out) = registers.get_mut(fold.dst).and_then(|r| r.get_mut(..rows)) {
                accumulator.finish(fold, out);
            }
            if let Some(view) = views.get_mut(fold.dst) {
                *view = View::Own;
            }
        }
    }

    /// Writes values to memory.
    pub(super) fn writes(&mut self, writes: &[Write], tile: &Tile) {
        for write in writes {
            let Some(place) = self.places.get(write.operand) else {
                continue;
            };
            // What a store takes is never left in memory; see `Work::Load`.
            let value = self
                .scratch
                .value(write.value, tile.len())
                .unwrap_or(Arg::Splat(0));
            let mut out = self.memory.write(place);
            write
                .at
                .runs(self.space, tile, |at, run| store(&mut out, run, value, at));
        }
    }

    /// The values of a source, so many.
    fn fetch(&self, source: Source, len: usize) -> Arg<'_> {
        match self.scratch.value(source, len) {
            Ok(value) => value,
            Err((operand, at)) => {
                let memory = self
                    .places
                    .get(operand)
                    .map(|place| self.memory.read(place));
                match (source, memory) {
                    (Source::Block(_), Some(m)) => Arg::Slice(m.slice(at, len).unwrap_or_default()),
                    (_, m) => Arg::Splat(m.map_or(0, |m| m.at(at))),
                }
            }
        }
    }

    /// Computes one expression, into `out` unless its value is found elsewhere.
    fn step(&self, work: &Work, tile: &Tile, out: &mut [u32]) -> View {
        let arch = self.context.arch;
        let fetch = |source: &Source| self.fetch(*source, tile.len());
        match work {
            Work::Load {
                operand,
                at,
                guard,
                copy,
            } => {
                return self.load(*operand, at, guard.as_ref().map(fetch), *copy, tile, out);
            }
            Work::LoadRow {
                operand,
                row,
                stride,
                at,
                guard,
            } => {
                let Some(place) = self.places.get(*operand) else {
                    return View::Splat(0);
                };
                let memory = self.memory.read(place);
                let (row, guard) = (fetch(row), guard.as_ref().map(fetch));
                each_run(at, self.space, tile, out, |at, run, out| {
                    load_rows(memory, run, (row, *stride), guard, at, out);
                });
            }
            Work::Index(at) => each_run(at, self.space, tile, out, |_, run, out| {
                run.iter().zip(out).for_each(|(p, o)| *o = low(p));
            }),
            Work::InRange { at, low, high } => {
                if let Some(run) = at.single_run(self.space, tile)
                    && run.stride == 0
                {
                    return View::Splat(u32::from((*low..*high).contains(&run.start)));
                }
                each_run(at, self.space, tile, out, |_, run, out| {
                    let inside = run.iter().map(|p| u32::from(*low <= p && p < *high));
                    inside.zip(out).for_each(|(i, o)| *o = i);
                });
            }
            Work::Random { stream, at } => each_run(at, self.space, tile, out, |_, run, out| {
                self.random(*stream, run, out);
            }),
            Work::StepWord(word) => return View::Splat(self.context.word(*word)),
            Work::Total {
                operand,
                count,
                dtype,
            } => {
                return View::Splat(self.total(*operand, *count, *dtype));
            }
            Work::Unary(op, dtype, x) => {
                return block([fetch(x)], out, |[x], out| {
                    simd::unary(arch, *op, *dtype, x, out)
                });
            }
            Work::Binary(op, dtype, a, b) => {
                return block([fetch(a), fetch(b)], out, |[a, b], out| {
                    simd::binary(arch, *op, *dtype, a, b, out);
                });
            }
            Work::Select(c, a, b) => {
                return block([fetch(c), fetch(a), fetch(b)], out, |[c, a, b], out| {
                    simd::select(arch, c, a, b, out);
                });
            }
            Work::Cast { from, to, x } => {
                return block([fetch(x)], out, |[x], out| {
                    simd::cast(arch, *from, *to, x, out)
                });
            }
            Work::Check { bound, site, x } => {
                return block([fetch(x)], out, |[x], out| {
                    self.check(*bound, *site, x, out)
                });
            }
            Work::Spread(x) => match (self.fetch(*x, tile.rows.len()), tile.order) {
                (Arg::Splat(v), _) => return View::Splat(v),
                (Arg::Slice(rows), Order::RowMajor) => {
                    let blocks = out.chunks_exact_mut(tile.cols.len().max(1));
                    blocks.zip(rows).for_each(|(b, v)| b.fill(*v));
                }
                (Arg::Slice(rows), Order::ColMajor) => {
                    let blocks = out.chunks_exact_mut(rows.len().max(1));
                    blocks.for_each(|b| b.copy_from_slice(rows));
                }
            },
        }
        View::Own
    }

    fn load(
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
        let memory = self.memory.read(place);
        match guard {
            Some(Arg::Splat(0)) => return View::Splat(0),
            Some(guard @ Arg::Slice(_)) => each_run(at, self.space, tile, out, |at, run, out| {
                load_guarded(memory, run, guard, at, out);
            }),
            None | Some(Arg::Splat(_)) => {
                match at.single_run(self.space, tile) {
                    Some(run) if run.stride == 0 => return View::Splat(memory.at(run.start)),
                    Some(run) if run.stride == 1 && !copy => {
                        return View::Memory(operand, run.start);
                    }
                    _ => {}
                }
                each_run(at, self.space, tile, out, |_, run, out| {
                    load(memory, run, out)
                });
            }
        }
        View::Own
    }

    fn random(&self, stream: u64, run: Run, out: &mut [u32]) {
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

    fn total(&self, operand: usize, count: usize, dtype: DType) -> u32 {
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

    fn check(&self, bound: u32, site: usize, x: Arg<'_>, out: &mut [u32]) {
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

/// Calls `f` with the place in the tile, the positions and the destination of every run.
#[inline]
fn each_run(
    positions: &Positions,
    space: &Space,
    tile: &Tile,
    out: &mut [u32],
    mut f: impl FnMut(usize, Run, &mut [u32]),
) {
    positions.runs(space, tile, |at, run| {
        if let Some(out) = out.get_mut(at..at + run.len) {
            f(at, run, out);
        }
    });
}

/// Computes a block; a single value if all arguments are single values.
#[inline]
fn block<const N: usize>(
    args: [Arg<'_>; N],
    out: &mut [u32],
    f: impl FnOnce([Arg<'_>; N], &mut [u32]),
) -> View {
    if !args.iter().all(|a| matches!(a, Arg::Splat(_))) {
        f(args, out);
        return View::Own;
    }
    let mut one = [0];
    f(args, &mut one);
    let [one] = one;
    View::Splat(one)
}

/// A position as device memory holds it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions wrap"
)]
fn low(position: i64) -> u32 {
    position as u32
}
