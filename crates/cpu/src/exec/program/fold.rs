//! Reductions over the columns of tiles.
//!
//! Floats are summed in f64, in eight lanes along columns: sums of millions of terms stay exact to
//! the last bits, and the order of addition depends on the shape of the tiles alone.

use gradus_graph::DType;
use gradus_graph::ops::Reduction;
use pulp::{Arch, NullaryFnOnce};

use super::positions::{Order, Tile};
use super::step::Fold;
use crate::exec::simd::Arg;

/// Sums that are kept apart, so that additions need not wait for each other.
const LANES: usize = 16;

/// The state of one reduction for each row of a tile.
#[derive(Debug, Default)]
pub(super) struct Accumulator {
    /// Sums of floats.
    sums: Vec<f64>,
    /// Other sums, and extremes.
    words: Vec<u32>,
    /// Columns of extremes.
    columns: Vec<u32>,
}

impl Accumulator {
    /// Starts over, for so many rows.
    pub(super) fn start(&mut self, fold: &Fold, rows: usize) {
        self.sums.clear();
        self.sums.resize(rows, 0.0);
        self.words.clear();
        self.words.resize(rows, identity(fold));
        self.columns.clear();
        self.columns.resize(rows, 0);
    }

    /// Takes in a tile.
    pub(super) fn add(&mut self, arch: Arch, fold: &Fold, tile: &Tile, x: Arg<'_>) {
        let (rows, cols) = (tile.rows.len(), tile.cols.len());
        match (fold.op, fold.dtype, fold.position) {
            (Reduction::Sum, DType::F32, _) => {
                let sums = &mut self.sums;
                match x {
                    // Exact: a product of an f32 and a count fits an f64.
                    Arg::Splat(x) => {
                        let x = f64::from(f32::from_bits(x)) * cols as f64;
                        sums.iter_mut().for_each(|s| *s += x);
                    }
                    Arg::Slice(x) => {
                        let x = bytemuck::cast_slice(x);
                        arch.dispatch(Sum {
                            x,
                            rows,
                            cols,
                            order: tile.order,
                            sums,
                        });
                    }
                }
            }
            (Reduction::Sum, ..) => self.each(tile, x, |sum, _, x, _| *sum = sum.wrapping_add(x)),
            (op, dtype, false) => match x {
                Arg::Slice(x) if dtype == DType::F32 => {
                    let (x, best) = (
                        bytemuck::cast_slice(x),
                        bytemuck::cast_slice_mut(&mut self.words),
                    );
                    let max = op == Reduction::Max;
                    arch.dispatch(Extreme {
                        x,
                        rows,
                        cols,
                        order: tile.order,
                        max,
                        best,
                    });
                }
                _ => self.each(tile, x, |best, _, x, _| {
                    if beats(op, dtype, x, *best) {
                        *best = x;
                    }
                }),
            },
            (op, dtype, true) => self.each(tile, x, |best, at, x, column| {
                // The first column wins against the identity even where it equals it.
                if column == 0 || beats(op, dtype, x, *best) {
                    *best = x;
                    *at = column;
                }
            }),
        }
    }

    /// The result of every row.
    pub(super) fn finish(&self, fold: &Fold, out: &mut [u32]) {
        #[allow(clippy::cast_possible_truncation, reason = "the result is an f32")]
        if fold.op == Reduction::Sum && fold.dtype == DType::F32 {
            self.sums
                .iter()
                .zip(out)
                .for_each(|(s, o)| *o = (*s as f32).to_bits());
        } else {
            let words = if fold.position {
                &self.columns
            } else {
                &self.words
            };
            words.iter().zip(out).for_each(|(w, o)| *o = *w);
        }
    }

    fn each(&mut self, tile: &Tile, x: Arg<'_>, f: impl Fn(&mut u32, &mut u32, u32, u32)) {
        let (rows, cols) = (tile.rows.len(), tile.cols.len());
        let (row_pitch, col_pitch) = pitches(tile.order, rows, cols);
        let first = u32::try_from(tile.cols.start).unwrap_or(u32::MAX);
        let state = self.words.iter_mut().zip(&mut self.columns);
        for (r, (word, column)) in state.enumerate().take(rows) {
            for (c, number) in (0..cols).zip(first..) {
                f(word, column, x.at(r * row_pitch + c * col_pitch), number);
            }
        }
    }
}

fn pitches(order: Order, rows: usize, cols: usize) -> (usize, usize) {
    match order {
        Order::RowMajor => (cols, 1),
        Order::ColMajor => (1, rows),
    }
}

/// What a reduction of nothing gives.
fn identity(fold: &Fold) -> u32 {
    match (fold.op, fold.dtype) {
        (Reduction::Max, DType::F32) => f32::NEG_INFINITY.to_bits(),
        (Reduction::Min, DType::F32) => f32::INFINITY.to_bits(),
        (Reduction::Max, DType::I32) => i32::MIN.cast_unsigned(),
        (Reduction::Min, DType::I32) => i32::MAX.cast_unsigned(),
        (Reduction::Min, _) => u32::MAX,
        _ => 0,
    }
}

/// True if `x` takes the place of `best`: it is beyond it, or it is the first NaN.
fn beats(op: Reduction, dtype: DType, x: u32, best: u32) -> bool {
    let max = op == Reduction::Max;
    match dtype {
        DType::F32 => beyond(max, f32::from_bits(x), f32::from_bits(best)),
        DType::I32 if max => x.cast_signed() > best.cast_signed(),
        DType::I32 => x.cast_signed() < best.cast_signed(),
        _ if max => x > best,
        _ => x < best,
    }
}

#[inline(always)]
fn beyond(max: bool, x: f32, best: f32) -> bool {
    let further = if max { x > best } else { x < best };
    further || (x.is_nan() && !best.is_nan())
}

struct Sum<'a> {
    x: &'a [f32],
    rows: usize,
    cols: usize,
    order: Order,
    sums: &'a mut [f64],
}

impl NullaryFnOnce for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            x,
            rows,
            cols,
            order,
            sums,
        } = self;
        match order {
            Order::ColMajor => {
                for column in x.chunks_exact(rows.max(1)) {
                    sums.iter_mut()
                        .zip(column)
                        .for_each(|(s, x)| *s += f64::from(*x));
                }
            }
            Order::RowMajor => {
                for (sum, row) in sums.iter_mut().zip(x.chunks_exact(cols.max(1))) {
                    *sum += sum_row(row);
                }
            }
        }
    }
}

#[inline(always)]
fn sum_row(row: &[f32]) -> f64 {
    let mut lanes = [0f64; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        lanes
            .iter_mut()
            .zip(block)
            .for_each(|(l, x)| *l += f64::from(*x));
    }
    let rest: f64 = rest.iter().map(|x| f64::from(*x)).sum();
    if blocks.is_empty() {
        return rest;
    }
    lanes.iter().sum::<f64>() + rest
}

struct Extreme<'a> {
    x: &'a [f32],
    rows: usize,
    cols: usize,
    order: Order,
    max: bool,
    best: &'a mut [f32],
}

impl NullaryFnOnce for Extreme<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            x,
            rows,
            cols,
            order,
            max,
            best,
        } = self;
        // The test of `max` must not stay in the loops.
        if max {
            extreme(true, x, rows, cols, order, best);
        } else {
            extreme(false, x, rows, cols, order, best);
        }
    }
}

#[inline(always)]
fn extreme(max: bool, x: &[f32], rows: usize, cols: usize, order: Order, best: &mut [f32]) {
    let pick = |best: f32, x: f32| if beyond(max, x, best) { x } else { best };
    match order {
        Order::ColMajor => {
            for column in x.chunks_exact(rows.max(1)) {
                best.iter_mut()
                    .zip(column)
                    .for_each(|(b, x)| *b = pick(*b, *x));
            }
        }
        Order::RowMajor => {
            for (best, row) in best.iter_mut().zip(x.chunks_exact(cols.max(1))) {
                let mut lanes = [*best; LANES];
                let (blocks, rest) = row.as_chunks::<LANES>();
                for block in blocks {
                    lanes
                        .iter_mut()
                        .zip(block)
                        .for_each(|(l, x)| *l = pick(*l, *x));
                }
                let wide = if blocks.is_empty() {
                    *best
                } else {
                    lanes.into_iter().fold(*best, pick)
                };
                *best = rest.iter().fold(wide, |best, x| pick(best, *x));
            }
        }
    }
}
