//! Reductions of blocks of floats that stand for rows and columns.
//!
//! Sums are made in f64, which keeps sums of millions of terms exact to the last bits, in lanes
//! along long rows. Their order depends on the shape of the block alone.

use pulp::{Arch, NullaryFnOnce};

/// Values that are kept apart, so that operations need not wait for each other.
const LANES: usize = 16;

/// A block of rows and columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// The columns of a row are neighbours; otherwise the rows of a column are.
    pub(crate) row_major: bool,
}

/// Adds the sum of every row.
pub(crate) fn sums(arch: Arch, block: Block<'_>, sums: &mut [f64]) {
    arch.dispatch(Sums { block, sums });
}

/// Takes in the largest, or the smallest, of every row. NaN counts as beyond all others.
pub(crate) fn extremes(arch: Arch, block: Block<'_>, max: bool, best: &mut [f32]) {
    arch.dispatch(Extremes { block, max, best });
}

/// As [`extremes`], with the columns of the first of them, for a block in which rows are neighbours.
/// Column 0 wins against whatever is there.
pub(crate) fn first_extremes(
    arch: Arch,
    block: Block<'_>,
    start: u32,
    max: bool,
    best: &mut [f32],
    columns: &mut [u32],
) {
    arch.dispatch(Firsts {
        block,
        start,
        max,
        best,
        columns,
    });
}

/// True if `x` takes the place of `best`.
#[inline(always)]
pub(crate) fn beyond(max: bool, x: f32, best: f32) -> bool {
    let within = if max { x <= best } else { x >= best };
    !within & !best.is_nan()
}

struct Sums<'a> {
    block: Block<'a>,
    sums: &'a mut [f64],
}

impl NullaryFnOnce for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Block {
            x,
            rows,
            cols,
            row_major,
        } = self.block;
        let add = |(sum, x): (&mut f64, &f32)| *sum += f64::from(*x);
        if !row_major {
            for column in x.chunks_exact(rows.max(1)) {
                self.sums.iter_mut().zip(column).for_each(add);
            }
        } else if cols < LANES {
            // Additions of one row wait for each other, those of different rows do not.
            for col in 0..cols {
                let column = x.iter().skip(col).step_by(cols);
                self.sums.iter_mut().zip(column).for_each(add);
            }
        } else {
            for (sum, row) in self.sums.iter_mut().zip(x.chunks_exact(cols)) {
                *sum += sum_row(row);
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
    lanes.iter().sum::<f64>() + rest
}

struct Extremes<'a> {
    block: Block<'a>,
    max: bool,
    best: &'a mut [f32],
}

impl NullaryFnOnce for Extremes<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        // The test of `max` must not stay in the loops.
        if self.max {
            extremes_of(self.block, self.best, |best, x| pick(true, best, x));
        } else {
            extremes_of(self.block, self.best, |best, x| pick(false, best, x));
        }
    }
}

struct Firsts<'a> {
    block: Block<'a>,
    start: u32,
    max: bool,
    best: &'a mut [f32],
    columns: &'a mut [u32],
}

impl NullaryFnOnce for Firsts<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self.block.rows.max(1);
        for (x, number) in self.block.x.chunks_exact(rows).zip(self.start..) {
            let state = self.best.iter_mut().zip(&mut *self.columns).zip(x);
            // The tests of `max` and of the first column must not stay in the loop.
            match (number, self.max) {
                (0, _) => state.for_each(|((best, at), x)| (*best, *at) = (*x, 0)),
                (_, true) => state.for_each(|((best, at), x)| take(true, best, at, *x, number)),
                (_, false) => state.for_each(|((best, at), x)| take(false, best, at, *x, number)),
            }
        }
    }
}

#[inline(always)]
fn take(max: bool, best: &mut f32, at: &mut u32, x: f32, number: u32) {
    let wins = beyond(max, x, *best);
    *best = if wins { x } else { *best };
    *at = if wins { number } else { *at };
}

#[inline(always)]
fn pick(max: bool, best: f32, x: f32) -> f32 {
    if beyond(max, x, best) { x } else { best }
}

#[inline(always)]
fn extremes_of(block: Block<'_>, best: &mut [f32], pick: impl Fn(f32, f32) -> f32 + Copy) {
    let Block {
        x,
        rows,
        cols,
        row_major,
    } = block;
    let take = |(best, x): (&mut f32, &f32)| *best = pick(*best, *x);
    if !row_major {
        for column in x.chunks_exact(rows.max(1)) {
            best.iter_mut().zip(column).for_each(take);
        }
    } else if cols < LANES {
        for col in 0..cols {
            let column = x.iter().skip(col).step_by(cols);
            best.iter_mut().zip(column).for_each(take);
        }
    } else {
        for (best, row) in best.iter_mut().zip(x.chunks_exact(cols)) {
            let mut lanes = [*best; LANES];
            let (blocks, rest) = row.as_chunks::<LANES>();
            for block in blocks {
                lanes.iter_mut().zip(block).for_each(take);
            }
            // In halves, so that few operations wait for each other.
            for half in [8, 4, 2, 1] {
                let (low, high) = lanes.split_at_mut(half);
                low.iter_mut().zip(&*high).for_each(take);
            }
            *best = rest.iter().fold(lanes[0], |best, x| pick(best, *x));
        }
    }
}
