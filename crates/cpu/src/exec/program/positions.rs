//! Symbolic indices over tiles of the iteration space, as runs of equidistant numbers.

use gradus_graph::Index;

use super::run::{Axis, Grid, Line, Run, joined_axes, signed, single_run};
use super::space::{Order, Space, Tile, unravel};
use crate::exec::simd::WOVEN;

/// The most axes an index that divides may have: positions are held on the stack.
const MAX_AXES: usize = 16;
/// Positions of an index that divides are tabulated up to this many: 2 MiB.
const TABLE: usize = 1 << 18;

/// An index, prepared.
#[derive(Clone, Debug)]
pub(super) enum Positions {
    /// `offset + Σ stride · position`.
    Affine {
        offset: i64,
        kept: Vec<Axis>,
        reduced: Vec<Axis>,
    },
    /// Tabulated: the position of every row and column.
    Table { values: Vec<i64>, cols: usize },
    /// Computed element by element.
    General { index: Index, space: Space },
}

impl Positions {
    /// Prepares an index over these axes.
    pub(super) fn new(index: &Index, space: &Space) -> Result<Self, String> {
        let axes = space.kept.len() + space.reduced.len();
        if let Some(mut kept) = index.strides(axes) {
            let reduced = kept.split_off(space.kept.len());
            return Ok(Self::Affine {
                offset: index.offset(),
                kept: joined_axes(&space.kept, &kept),
                reduced: joined_axes(&space.reduced, &reduced),
            });
        }
        if axes > MAX_AXES {
            return Err(format!(
                "{axes} iteration axes, but at most {MAX_AXES} are supported"
            ));
        }
        let general = Self::General {
            index: index.clone(),
            space: space.clone(),
        };
        let (rows, cols) = (space.rows(), space.cols());
        if rows.saturating_mul(cols) > TABLE {
            return Ok(general);
        }
        let mut values = vec![0; rows * cols];
        let tile = Tile {
            rows: 0..rows,
            cols: 0..cols,
            order: Order::RowMajor,
        };
        general.runs(&tile, |at, run| {
            if let Some(value) = values.get_mut(at) {
                *value = run.start;
            }
        });
        Ok(Self::Table { values, cols })
    }

    /// The strides of the innermost kept and reduced axis, if there are any.
    pub(super) fn inner_strides(&self) -> Option<(i64, i64)> {
        match self {
            Self::Affine { kept, reduced, .. } => Some((
                kept.last().map_or(0, |axis| axis.stride),
                reduced.last().map_or(0, |axis| axis.stride),
            )),
            _ => None,
        }
    }

    /// Calls `f` with the place in the tile and the positions of every run of the tile. Runs cover
    /// the tile, in no particular order.
    #[inline]
    pub(super) fn runs(&self, tile: &Tile, mut f: impl FnMut(usize, Run)) {
        self.grids(tile, |at, grid| match grid.joined() {
            Some(run) => f(at, run),
            None => grid.runs().for_each(|(place, run)| f(at + place, run)),
        });
    }

    /// As [`Positions::runs`], with runs that belong together as grids.
    #[inline]
    pub(super) fn grids(&self, tile: &Tile, mut f: impl FnMut(usize, Grid)) {
        let Some((offset, outer, inner)) = self.lines(tile) else {
            return self.each(tile, |at, run| f(at, Grid::from(run)));
        };
        let pitch = inner.range.len();
        let mut shifted = |at, start, grid: Grid| {
            let start = offset + start + grid.run.start;
            let run = Run { start, ..grid.run };
            f(at, Grid { run, ..grid });
        };
        inner.grids(|i_at, i| {
            outer.grids(|o_at, o| {
                for (place, o) in o.runs() {
                    let at = (o_at + place) * pitch + i_at;
                    if i.lines == 1 {
                        let (lines, step) = (o.len, o.stride);
                        shifted(
                            at,
                            o.start,
                            Grid {
                                lines,
                                step,
                                pitch,
                                ..i
                            },
                        );
                    } else {
                        let starts = o.iter().enumerate();
                        starts.for_each(|(k, start)| shifted(at + k * pitch, start, i));
                    }
                }
            });
        });
    }

    /// How many columns alternate in memory: the last reduced axis, if a position on the last kept
    /// axis is as far from the next as that is long.
    pub(super) fn woven(&self) -> Option<usize> {
        let Self::Affine { kept, reduced, .. } = self else {
            return None;
        };
        let (kept, reduced) = (kept.last()?, reduced.last()?);
        let woven = reduced.stride == 1 && kept.stride == signed(reduced.size);
        (woven && (2..=WOVEN).contains(&reduced.size)).then_some(reduced.size)
    }

    /// As [`Positions::grids`], of the first column of a tile of all columns that alternate.
    #[inline]
    pub(super) fn first_columns(&self, tile: &Tile, f: impl FnMut(usize, Grid)) {
        let first = tile.cols.start;
        let tile = Tile {
            rows: tile.rows.clone(),
            cols: first..first + 1,
            order: Order::ColMajor,
        };
        self.grids(&tile, f);
    }

    /// The only run of the tile, if it is one.
    #[inline]
    pub(super) fn single_run(&self, tile: &Tile) -> Option<Run> {
        let (offset, outer, inner) = self.lines(tile)?;
        let run = single_run(&outer, &inner)?;
        let start = offset + run.start;
        Some(Run { start, ..run })
    }

    /// The offset, and the outer and the inner dimension of the tile.
    #[inline]
    fn lines<'a>(&'a self, tile: &Tile) -> Option<(i64, Line<'a>, Line<'a>)> {
        let Self::Affine {
            offset,
            kept,
            reduced,
        } = self
        else {
            return None;
        };
        let rows = Line {
            axes: kept,
            range: tile.rows.clone(),
        };
        let cols = Line {
            axes: reduced,
            range: tile.cols.clone(),
        };
        Some(match tile.order {
            Order::RowMajor => (*offset, rows, cols),
            Order::ColMajor => (*offset, cols, rows),
        })
    }

    /// Runs of one element.
    fn each(&self, tile: &Tile, mut f: impl FnMut(usize, Run)) {
        let mut at = 0;
        let mut put = |row, col| {
            let start = self.value(row, col);
            f(
                at,
                Run {
                    start,
                    stride: 0,
                    len: 1,
                },
            );
            at += 1;
        };
        match tile.order {
            Order::RowMajor => {
                tile.rows
                    .clone()
                    .for_each(|r| tile.cols.clone().for_each(|c| put(r, c)));
            }
            Order::ColMajor => {
                tile.cols
                    .clone()
                    .for_each(|c| tile.rows.clone().for_each(|r| put(r, c)));
            }
        }
    }

    /// The position of one row and column.
    fn value(&self, row: usize, col: usize) -> i64 {
        match self {
            Self::Affine { .. } => 0,
            Self::Table { values, cols } => values.get(row * cols + col).copied().unwrap_or(0),
            Self::General { index, space } => {
                let mut at = [0; MAX_AXES];
                let (kept, reduced) = at.split_at_mut(space.kept.len().min(MAX_AXES));
                unravel(&space.kept, row, kept);
                unravel(&space.reduced, col, reduced);
                index.eval(&at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Runs cover every tile and give what the index gives.
        #[test]
        fn runs_give_the_value_of_the_index(
            kept in prop::collection::vec(1usize..6, 0..3),
            reduced in prop::collection::vec(1usize..6, 0..3),
            strides in prop::collection::vec(-3i64..40, 6),
            divisor in 0i64..4,
            cut in any::<[u8; 4]>(),
            row_major in any::<bool>(),
        ) {
            let sizes = [kept.clone(), reduced.clone()].concat();
            let axes = (0..sizes.len()).zip(strides);
            let mut index = axes.fold(Index::constant(100), |sum, (axis, stride)| {
                sum.plus(&Index::axis(axis).scaled(stride))
            });
            if divisor > 0 {
                index = index.div(divisor, &sizes).plus(&index.rem(divisor + 2, &sizes));
            }
            let space = Space { kept, reduced };
            let part = |n: usize, a: u8, b: u8| {
                let start = usize::from(a) % n;
                start..start + 1 + usize::from(b) % (n - start)
            };
            let tile = Tile {
                rows: part(space.rows(), cut[0], cut[1]),
                cols: part(space.cols(), cut[2], cut[3]),
                order: if row_major { Order::RowMajor } else { Order::ColMajor },
            };
            let expected = |at: usize| {
                let (rows, cols) = (tile.rows.len(), tile.cols.len());
                let (r, c) = if row_major { (at / cols, at % cols) } else { (at % rows, at / rows) };
                let mut here = vec![0; sizes.len()];
                let (kept, reduced) = here.split_at_mut(space.kept.len());
                unravel(&space.kept, tile.rows.start + r, kept);
                unravel(&space.reduced, tile.cols.start + c, reduced);
                index.eval(&here)
            };
            let positions = Positions::new(&index, &space).unwrap();
            let mut found = vec![None; tile.len()];
            positions.runs(&tile, |at, run| {
                for (place, position) in found[at..].iter_mut().zip(run.iter()) {
                    assert!(place.replace(position).is_none(), "covered twice");
                }
            });
            for (at, found) in found.into_iter().enumerate() {
                prop_assert_eq!(found, Some(expected(at)));
            }
            if let Some(run) = positions.single_run(&tile) {
                prop_assert_eq!(run.len, tile.len());
                for (at, position) in run.iter().enumerate() {
                    prop_assert_eq!(position, expected(at));
                }
            }
        }
    }
}
