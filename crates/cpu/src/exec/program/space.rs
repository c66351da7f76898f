//! The iteration space of a program, and tiles of it.

use std::ops::Range;

use gradus_graph::Program;

/// The sizes of the iteration axes. A *row* is a position on the kept ones, a *column* on the
/// reduced ones, both counted in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub(super) kept: Vec<usize>,
    pub(super) reduced: Vec<usize>,
}

impl Space {
    /// The axes of a program.
    pub(super) fn new(program: &Program) -> Self {
        let (kept, reduced) = program.axes.split_at(program.kept.min(program.axes.len()));
        Self {
            kept: kept.to_vec(),
            reduced: reduced.to_vec(),
        }
    }

    /// All rows.
    pub(super) fn rows(&self) -> usize {
        self.kept.iter().product()
    }

    /// All columns.
    pub(super) fn cols(&self) -> usize {
        self.reduced.iter().product()
    }
}

/// Some rows times some columns, and which of them are neighbours in registers.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    pub(super) order: Order,
}

/// How the elements of a tile follow each other in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The columns of a row are neighbours.
    RowMajor,
    /// The rows of a column are neighbours.
    ColMajor,
}

impl Tile {
    /// Elements in the tile.
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.cols.len()
    }

    /// Its rows, as seen by what does not vary along columns.
    pub(super) fn only_rows(&self) -> Self {
        Self {
            rows: self.rows.clone(),
            cols: 0..1,
            order: Order::ColMajor,
        }
    }
}

/// The coordinates of a row-major position.
pub(super) fn unravel(sizes: &[usize], mut position: usize, at: &mut [usize]) {
    for (axis, &size) in sizes.iter().enumerate().rev() {
        if let Some(at) = at.get_mut(axis) {
            *at = position % size.max(1);
        }
        position /= size.max(1);
    }
}
