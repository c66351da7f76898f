//! Runs of equidistant positions in memory.

use std::ops::Range;

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

/// Runs of equal length, each `step` positions and `pitch` registers after the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) run: Run,
    pub(super) lines: usize,
    pub(super) step: i64,
    pub(super) pitch: usize,
}

impl Grid {
    /// All of it as one run, if it is one.
    #[inline]
    pub(super) fn joined(self) -> Option<Run> {
        let run = self.run;
        if self.lines == 1 {
            return Some(run);
        }
        if run.len != self.pitch {
            return None;
        }
        let stride = if run.len == 1 { self.step } else { run.stride };
        (signed(run.len) * stride == self.step).then_some(Run {
            stride,
            len: run.len * self.lines,
            ..run
        })
    }

    /// The place of every run in registers, counted from the first, and the run.
    pub(super) fn runs(self) -> impl Iterator<Item = (usize, Run)> {
        (0..self.lines).map(move |line| {
            let start = self.run.start + signed(line) * self.step;
            (line * self.pitch, Run { start, ..self.run })
        })
    }
}

impl From<Run> for Grid {
    fn from(run: Run) -> Self {
        Self {
            run,
            lines: 1,
            step: 0,
            pitch: run.len,
        }
    }
}

/// An axis as an index sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) stride: i64,
}

/// As few axes as an index that has these strides needs.
pub(super) fn joined_axes(sizes: &[usize], strides: &[i64]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::with_capacity(sizes.len());
    for (&size, &stride) in sizes.iter().zip(strides).filter(|(n, _)| **n != 1) {
        match axes.last_mut() {
            Some(outer) if outer.stride == signed(size) * stride => {
                outer.size *= size;
                outer.stride = stride;
            }
            _ => axes.push(Axis { size, stride }),
        }
    }
    axes
}

/// A range of positions on some axes.
pub(super) struct Line<'a> {
    pub(super) axes: &'a [Axis],
    pub(super) range: Range<usize>,
}

impl Line<'_> {
    /// The positions from here as far as they are one grid: all up to the end of an axis, or whole
    /// lines of the last axis.
    #[inline]
    pub(super) fn grid(&self, position: usize) -> Grid {
        let left = self.range.end.saturating_sub(position);
        let line = |start, stride, len| Grid::from(Run { start, stride, len });
        match self.axes {
            [] => line(0, 0, left),
            [axis] => line(signed(position) * axis.stride, axis.stride, left),
            [.., outer, last] => {
                let (number, on_line) = (position / last.size.max(1), position % last.size.max(1));
                let mut start = 0;
                let mut rest = position;
                for axis in self.axes.iter().rev() {
                    start += signed(rest % axis.size.max(1)) * axis.stride;
                    rest /= axis.size.max(1);
                }
                if on_line > 0 || left < last.size {
                    return line(start, last.stride, left.min(last.size - on_line));
                }
                let lines = outer.size - number % outer.size.max(1);
                Grid {
                    lines: lines.min(left / last.size.max(1)),
                    step: outer.stride,
                    ..line(start, last.stride, last.size)
                }
            }
        }
    }

    /// Calls `f` with the distance from the first position and the positions of every grid.
    #[inline]
    pub(super) fn grids(&self, mut f: impl FnMut(usize, Grid)) {
        let mut position = self.range.start;
        while position < self.range.end {
            let grid = self.grid(position);
            f(position - self.range.start, grid);
            position += (grid.run.len * grid.lines).max(1);
        }
    }

    /// All of it as one run, if it is one.
    #[inline]
    fn single(&self) -> Option<Run> {
        let grid = self.grid(self.range.start);
        (grid.lines == 1 && grid.run.len == self.range.len()).then_some(grid.run)
    }
}

/// All of a tile of these dimensions as one run, if it is one.
#[inline]
pub(super) fn single_run(outer: &Line<'_>, inner: &Line<'_>) -> Option<Run> {
    let (outer, run) = (outer.single()?, inner.single()?);
    let grid = Grid {
        run,
        lines: outer.len,
        step: outer.stride,
        pitch: run.len,
    };
    let run = grid.joined()?;
    Some(Run {
        start: run.start + outer.start,
        ..run
    })
}

pub(super) fn signed(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}
