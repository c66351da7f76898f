//! Runs steps over tiles.

use super::access::{TableRows, in_range, load_rows, store, store_woven};
use super::positions::Positions;
use super::run::Run;
use super::scratch::{Scratch, View};
use super::sources::low;
use super::space::{Order, Tile};
use super::step::{Fold, Register, Source, Step, Work, Write};
use crate::exec::context::Context;
use crate::exec::memory::{Memory, Place};
use crate::exec::simd::{self, Arg, Columns};

/// One thread at work on one program.
pub(super) struct Machine<'a, 'm> {
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
        let mut put = |dst: Option<Register>, results: &dyn Fn(&mut [u32])| {
            let Some(dst) = dst else { return };
            if let Some(out) = registers.get_mut(dst).and_then(|r| r.get_mut(..rows)) {
                results(out);
            }
            if let Some(view) = views.get_mut(dst) {
                *view = View::Own;
            }
        };
        for (fold, accumulator) in folds.iter().zip(accumulators) {
            put(fold.value, &|out| accumulator.values(fold, out));
            put(fold.position, &|out| accumulator.positions(out));
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
            let arch = self.context.arch;
            let woven = tile.order == Order::ColMajor && write.at.woven() == Some(tile.cols.len());
            match value {
                Arg::Slice(values) if woven => {
                    let columns = |first| Columns {
                        values,
                        pitch: tile.rows.len(),
                        first,
                        count: tile.cols.len(),
                    };
                    write.at.first_columns(tile, |at, grid| {
                        store_woven(arch, &mut out, grid, columns(at));
                    });
                }
                _ => write
                    .at
                    .grids(tile, |at, grid| store(arch, &mut out, grid, value, at)),
            }
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
                by_row,
                stride,
                at,
                guard,
            } => {
                let Some(place) = self.places.get(*operand) else {
                    return View::Splat(0);
                };
                let memory = self.memory.read(place);
                let guard = guard.as_ref().map(fetch);
                let (rows, each) = match by_row {
                    true => (self.fetch(*row, tile.rows.len()), tile.cols.len()),
                    false => (fetch(row), 1),
                };
                let stride = *stride;
                let table = TableRows { rows, each, stride };
                each_run(at, tile, out, |at, run, out| {
                    load_rows(arch, memory, run, table, guard, at, out);
                });
            }
            Work::Index(at) => {
                if let Some(run) = at.single_run(tile).filter(|run| run.stride == 0) {
                    return View::Splat(low(run.start));
                }
                each_run(at, tile, out, |_, run, out| {
                    // Positions wrap, and so do their low words.
                    let (start, stride) = (low(run.start), low(run.stride));
                    let places = (0u32..).zip(out);
                    places.for_each(|(i, o)| *o = start.wrapping_add(i.wrapping_mul(stride)));
                });
            }
            Work::InRange { at, low, high } => {
                if let Some(run) = at.single_run(tile)
                    && run.stride == 0
                {
                    return View::Splat(u32::from((*low..*high).contains(&run.start)));
                }
                each_run(at, tile, out, |_, run, out| {
                    in_range(run, *low, *high, out);
                });
            }
            Work::Random { stream, at } => each_run(at, tile, out, |_, run, out| {
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
            Work::Fused { ops, flipped, args } => {
                return block(args.each_ref().map(fetch), out, |args, out| {
                    simd::fused(arch, *ops, *flipped, args, out);
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
}

/// Calls `f` with the place in the tile, the positions and the destination of every run.
#[inline]
pub(super) fn each_run(
    positions: &Positions,
    tile: &Tile,
    out: &mut [u32],
    mut f: impl FnMut(usize, Run, &mut [u32]),
) {
    positions.runs(tile, |at, run| {
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
