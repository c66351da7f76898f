//! Symbolic indices over tiles of the iteration space, as runs of equidistant numbers.

use std::ops::Range;

use gradus_graph::{Index, Program};

/// The most axes an index that divides may have: positions are held on the stack.
const MAX_AXES: usize = 16;
/// Positions of an index that divides are tabulated up to this many: 2 MiB.
const TABLE: usize = 1 << 18;

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

/// `start`, `start + stride`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: i64,
    pub(super) stride: i64,
    pub(super) len: usize,
}

impl Run {
    /// The numbers.
    pub(super) fn iter(self) -> impl Iterator<Item = i64> {
        (0..self.len).map(move |i| self.start + signed(i) * self.stride)
    }
}

/// An index, prepared.
#[derive(Clone, Debug)]
pub(super) enum Positions {
    /// `offset + Σ stride · position`.
    Affine {
        offset: i64,
        kept: Vec<i64>,
        reduced: Vec<i64>,
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
                kept,
                reduced,
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
        general.runs(space, &tile, |at, run| {
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
                kept.last().copied().unwrap_or(0),
                reduced.last().copied().unwrap_or(0),
            )),
            _ => None,
        }
    }

    /// Calls `f` with the place in the tile and the positions of every run of the tile. Runs cover
    /// the tile, in no particular order.
    #[inline]
    pub(super) fn runs(&self, space: &Space, tile: &Tile, mut f: impl FnMut(usize, Run)) {
        let Some((offset, outer, inner)) = self.lines(space, tile) else {
            return self.each(tile, f);
        };
        let pitch = inner.range.len();
        inner.segments(|i_at, i| {
            outer.segments(|o_at, o| {
                let (at, start) = (o_at * pitch + i_at, offset + i.start + o.start);
                if let Some(run) = joined(i, o, pitch) {
                    return f(at, Run { start, ..run });
                }
                for k in 0..o.len {
                    f(
                        at + k * pitch,
                        Run {
                            start: start + signed(k) * o.stride,
                            ..i
                        },
                    );
                }
            });
        });
    }

    /// The only run of the tile, if it is one.
    #[inline]
    pub(super) fn single_run(&self, space: &Space, tile: &Tile) -> Option<Run> {
        let (offset, outer, inner) = self.lines(space, tile)?;
        let (o, i) = (
            outer.segment(outer.range.start),
            inner.segment(inner.range.start),
        );
        if o.len != outer.range.len() || i.len != inner.range.len() {
            return None;
        }
        let run = joined(i, o, i.len)?;
        Some(Run {
            start: offset + i.start + o.start,
            ..run
        })
    }

    /// The offset, and the outer and the inner dimension of the tile.
    #[inline]
    fn lines<'a>(&'a self, space: &'a Space, tile: &'a Tile) -> Option<(i64, Line<'a>, Line<'a>)> {
        let Self::Affine {
            offset,
            kept,
            reduced,
        } = self
        else {
            return None;
        };
        let rows = Line {
            sizes: &space.kept,
            strides: kept,
            range: tile.rows.clone(),
        };
        let cols = Line {
            sizes: &space.reduced,
            strides: reduced,
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

/// The coordinates of a row-major position.
fn unravel(sizes: &[usize], mut position: usize, at: &mut [usize]) {
    for (axis, &size) in sizes.iter().enumerate().rev() {
        if let Some(at) = at.get_mut(axis) {
            *at = position % size.max(1);
        }
        position /= size.max(1);
    }
}

/// Both dimensions of a part of a tile as one run, if it is one: `pitch` is the distance in
/// registers from one position on the outer dimension to the next.
#[inline]
fn joined(inner: Run, outer: Run, pitch: usize) -> Option<Run> {
    if outer.len == 1 {
        return Some(inner);
    }
    if inner.len != pitch {
        return None;
    }
    let stride = if pitch == 1 {
        outer.stride
    } else {
        inner.stride
    };
    let len = inner.len * outer.len;
    (signed(pitch) * stride == outer.stride).then_some(Run {
        start: 0,
        stride,
        len,
    })
}

/// A range of positions on some axes.
struct Line<'a> {
    sizes: &'a [usize],
    strides: &'a [i64],
    range: Range<usize>,
}

impl Line<'_> {
    /// The positions from here to the end of the range or of the last axis.
    #[inline]
    fn segment(&self, position: usize) -> Run {
        let left = self.range.end.saturating_sub(position);
        match (self.sizes, self.strides) {
            ([], _) | (_, []) => Run {
                start: 0,
                stride: 0,
                len: left,
            },
            ([_], [stride]) => Run {
                start: signed(position) * stride,
                stride: *stride,
                len: left,
            },
            ([.., last], [.., stride]) => {
                let on_line = position % last.max(&1);
                let mut start = 0;
                let mut rest = position;
                for (&size, &stride) in self.sizes.iter().zip(self.strides).rev() {
                    start += signed(rest % size.max(1)) * stride;
                    rest /= size.max(1);
                }
                Run {
                    start,
                    stride: *stride,
                    len: left.min(last - on_line),
                }
            }
        }
    }

    /// Calls `f` with the distance from the first position and the positions of every segment.
    #[inline]
    fn segments(&self, mut f: impl FnMut(usize, Run)) {
        let mut position = self.range.start;
        while position < self.range.end {
            let run = self.segment(position);
            f(position - self.range.start, run);
            position += run.len.max(1);
        }
    }
}

fn signed(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}
