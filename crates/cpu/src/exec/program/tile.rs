//! Chooses the size and the order of the tiles that a program is computed in.

use gradus_graph::{Expr, Program};

use super::axes::{self, indices};
use super::positions::Positions;
use super::space::{Order, Space};

/// Elements of a tile: a register of 8 KiB. With half of that, choosing the ops took a fifth of an
/// optimizer's time; with twice that, so did fetching registers from the second-level cache.
const TILE: usize = 2048;
/// Columns that are still kept in registers from one pass over a row to the next, which saves
/// computing them again.
const LONG_ROW: usize = 8192;
/// Rows that a tile has where rows are neighbours in memory and columns are not.
const ROWS: usize = 256;
/// Rows that a tile of one column has: what repeats along columns is not copied.
const LONG_COLUMN: usize = 1024;
/// Columns that are too few for a run.
const SHORT: usize = 8;
/// Sides of a tile where some operands run along rows and others along columns.
const SQUARE: usize = 32;

/// The size and the order of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) order: Order,
}

impl Tiling {
    /// Tiles for a program over simple axes.
    pub(super) fn new(program: &Program, space: &Space) -> Self {
        let (rows, cols) = (space.rows().max(1), space.cols().max(1));
        if cols == 1 {
            return Self {
                rows: rows.min(TILE),
                cols: 1,
                order: Order::ColMajor,
            };
        }
        let (along_rows, along_cols) = directions(program, space);
        if along_rows > along_cols && rows >= 8 {
            let one = program.is_pointwise() && windows(program, space);
            // Columns that alternate in memory are stored together.
            let together = if one { woven(program, space) } else { 1 };
            let wide = if one {
                LONG_COLUMN / together
            } else {
                ROWS.max(TILE / cols)
            };
            let wide = rows.min(wide);
            // Whole lines of the last axis, if they are short, are moved together.
            let line = space.kept.last().filter(|n| **n <= wide).unwrap_or(&1);
            let wide = wide - wide % line;
            return Self {
                rows: wide,
                cols: if one { together } else { cols.min(TILE / wide) },
                order: Order::ColMajor,
            };
        }
        let order = Order::RowMajor;
        if along_rows > 0 && program.is_pointwise() && rows >= SQUARE && cols >= SQUARE {
            return Self {
                rows: SQUARE,
                cols: SQUARE,
                order,
            };
        }
        let repeats = program.exprs.iter().any(Expr::is_reduction);
        if cols <= TILE {
            Self {
                rows: rows.min(TILE / cols),
                cols,
                order,
            }
        } else if repeats && cols <= LONG_ROW {
            Self {
                rows: 1,
                cols,
                order,
            }
        } else {
            Self {
                rows: 1,
                cols: TILE,
                order,
            }
        }
    }
}

/// True if columns come in lines of a few, as under a small window.
fn windows(program: &Program, space: &Space) -> bool {
    let short = |n| space.reduced.last().is_some_and(|last| *last < n);
    if program.is_pointwise() {
        short(axes::SHORT)
    } else {
        short(SHORT) && space.reduced.len() > 1
    }
}

/// Columns that alternate in memory wherever something is stored, or 1.
fn woven(program: &Program, space: &Space) -> usize {
    let mut woven = program.stores.iter().map(|store| {
        let at = Positions::new(&store.index, space).ok()?;
        at.woven()
    });
    let first = woven.next().flatten();
    first.filter(|n| woven.all(|w| w == Some(*n))).unwrap_or(1)
}

/// How many indices advance by one element from row to row, and how many from column to column. If
/// columns come in lines of a few, rows always make the longer runs.
fn directions(program: &Program, space: &Space) -> (usize, usize) {
    let strides = indices(program)
        .filter(|index| program.is_full_index(index))
        .filter_map(|i| {
            let at = Positions::new(i, space).ok()?;
            at.inner_strides()
        });
    let windows = windows(program, space);
    strides.fold((0, 0), |(rows, cols), (row, col)| {
        if windows {
            return (rows + usize::from(row != 0), cols);
        }
        (
            rows + usize::from(row == 1 && col != 1),
            cols + usize::from(col == 1),
        )
    })
}
