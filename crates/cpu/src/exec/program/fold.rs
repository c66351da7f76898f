//! Reductions over the columns of tiles.

use gradus_graph::DType;
use gradus_graph::ops::Reduction;
use pulp::Arch;

use super::space::{Order, Tile};
use super::step::Fold;
use crate::exec::simd::{self, Arg, Block, beyond};

/// The state of one reduction for each row of a tile.
#[derive(Debug, Default)]
pub(super) struct Accumulator {
    /// Sums and products of floats.
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
        self.words.clear();
        self.columns.clear();
        if sums_floats(fold) {
            let start = if fold.op == Reduction::Prod { 1.0 } else { 0.0 };
            return self.sums.resize(rows, start);
        }
        self.words.resize(rows, identity(fold));
        self.columns.resize(rows, 0);
    }

    /// Takes in a tile.
    pub(super) fn add(&mut self, arch: Arch, fold: &Fold, tile: &Tile, x: Arg<'_>) {
        match (fold.op, fold.dtype, fold.position.is_some()) {
            (Reduction::Sum, DType::F32, _) => match x {
                // Exact: a product of an f32 and a count fits an f64.
                Arg::Splat(x) => {
                    let x = f64::from(f32::from_bits(x)) * tile.cols.len() as f64;
                    self.sums.iter_mut().for_each(|s| *s += x);
                }
                Arg::Slice(x) => simd::sums(arch, block(tile, x), &mut self.sums),
            },
            (Reduction::Sum, ..) => self.each(tile, x, |sum, _, x, _| *sum = sum.wrapping_add(x)),
            (Reduction::Prod, DType::F32, _) => {
                let (rows, cols) = (tile.rows.len(), tile.cols.len());
                let (row_pitch, col_pitch) = pitches(tile.order, rows, cols);
                for (r, product) in self.sums.iter_mut().enumerate() {
                    let row = (0..cols).map(|c| x.at(r * row_pitch + c * col_pitch));
                    *product = row.fold(*product, |p, x| p * f64::from(f32::from_bits(x)));
                }
            }
            (Reduction::Prod, ..) => self.each(tile, x, |p, _, x, _| *p = p.wrapping_mul(x)),
            (op, dtype, false) => match x {
                Arg::Slice(x) if dtype == DType::F32 => {
                    let best = bytemuck::cast_slice_mut(&mut self.words);
                    simd::extremes(arch, block(tile, x), op == Reduction::Max, best);
                }
                _ => self.each(tile, x, |best, _, x, _| {
                    if beats(op, dtype, x, *best) {
                        *best = x;
                    }
                }),
            },
            (op, dtype, true) => match (x, dtype, tile.order) {
                (Arg::Slice(x), DType::F32, Order::RowMajor) => {
                    self.first(arch, op, block(tile, x), tile.cols.start);
                }
                (Arg::Slice(x), DType::F32, Order::ColMajor) => {
                    let start = u32::try_from(tile.cols.start).unwrap_or(u32::MAX);
                    let best = bytemuck::cast_slice_mut(&mut self.words);
                    let (block, max) = (block(tile, x), op == Reduction::Max);
                    simd::first_extremes(arch, block, start, max, best, &mut self.columns);
                }
                _ => self.each(tile, x, |best, at, x, column| {
                    // The first column wins against the identity even where it equals it.
                    if column == 0 || beats(op, dtype, x, *best) {
                        *best = x;
                        *at = column;
                    }
                }),
            },
        }
    }

    /// The first position of the extreme of every row: looks for the extreme, then for where it is.
    fn first(&mut self, arch: Arch, op: Reduction, block: Block<'_>, start: usize) {
        let max = op == Reduction::Max;
        let state = self.words.iter_mut().zip(&mut self.columns);
        for ((word, column), x) in state.zip(block.x.chunks_exact(block.cols.max(1))) {
            let worst = f32::INFINITY.copysign(if max { -1.0 } else { 1.0 });
            let best = &mut [worst];
            simd::extremes(
                arch,
                Block {
                    x,
                    rows: 1,
                    ..block
                },
                max,
                best,
            );
            let [best] = *best;
            if start == 0 || beyond(max, best, f32::from_bits(*word)) {
                let place = x.iter().position(|x| *x == best || x.is_nan());
                *word = best.to_bits();
                *column = u32::try_from(start + place.unwrap_or(0)).unwrap_or(u32::MAX);
            }
        }
    }

    /// The result of every row.
    pub(super) fn values(&self, fold: &Fold, out: &mut [u32]) {
        #[allow(clippy::cast_possible_truncation, reason = "the result is an f32")]
        if sums_floats(fold) {
            let sums = self.sums.iter();
            sums.zip(out).for_each(|(s, o)| *o = (*s as f32).to_bits());
        } else {
            self.words.iter().zip(out).for_each(|(w, o)| *o = *w);
        }
    }

    /// The first position of the extreme of every row.
    pub(super) fn positions(&self, out: &mut [u32]) {
        self.columns.iter().zip(out).for_each(|(c, o)| *o = *c);
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

/// True if sums, or products, are made in f64.
fn sums_floats(fold: &Fold) -> bool {
    matches!(fold.op, Reduction::Sum | Reduction::Prod) && fold.dtype == DType::F32
}

/// A tile of floats.
fn block<'a>(tile: &Tile, x: &'a [u32]) -> Block<'a> {
    Block {
        x: bytemuck::cast_slice(x),
        rows: tile.rows.len(),
        cols: tile.cols.len(),
        row_major: tile.order == Order::RowMajor,
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
        (Reduction::Prod, _) => 1,
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
