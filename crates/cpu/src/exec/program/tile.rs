//! Chooses the size and the order of the tiles that a program is computed in.

use gradus_graph::{Expr, Program};

use super::axes::indices;
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
            let wide = rows.min(ROWS);
            return Self {
                rows: wide,
                cols: cols.min(TILE / wide),
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

/// How many indices advance by one element from row to row, and how many from column to column. If
/// columns come in lines of a few, as under a small window, rows always make the longer runs.
fn directions(program: &Program, space: &Space) -> (usize, usize) {
    let strides = indices(program)
        .filter(|index| program.is_full_index(index))
        .filter_map(|i| {
            let at = Positions::new(i, space).ok()?;
            at.inner_strides()
        });
    let windows = space.reduced.len() > 1 && space.reduced.last().is_some_and(|n| *n < SHORT);
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
