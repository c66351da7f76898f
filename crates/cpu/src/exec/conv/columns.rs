//! The elements under the taps of a window as a matrix, a row for each channel and tap, and back.

use std::ops::Range;

use gradus_graph::ops::{Direction, Window};

/// Outer positions at which a tap lies outside.
const OUTSIDE: usize = usize::MAX;

/// How a window moves over an image, with the outer axes tabulated, so that the last one is left.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// For every outer tap and outer position: the row of elements on which the tap lies.
    rows: Vec<usize>,
    /// Positions on all axes but the last.
    pub(super) lines: usize,
    /// Positions on the last axis.
    pub(super) width: usize,
    /// Elements of a row.
    row: usize,
    /// Elements of an image.
    pub(super) elements: usize,
    /// Taps on all axes.
    pub(super) taps: usize,
    /// From one position to the next, on the last axis.
    stride: usize,
    /// For every tap of the last axis: the positions at which it lies inside, and on which element
    /// it lies at the first of them.
    spans: Vec<(Range<usize>, usize)>,
}

/// One axis: at position `p` tap `k` lies on `first + stride · p + dilation · k`.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) size: usize,
    stride: usize,
    dilation: i64,
    first: i64,
}

impl Axis {
    pub(super) fn of(w: &Window, direction: Direction) -> Self {
        let signed = |v: usize| i64::try_from(v).unwrap_or(i64::MAX);
        if direction == Direction::Input {
            // Where the window moves by single steps, each element is seen by a window over the
            // positions, which runs backwards.
            return Self {
                input: w.output,
                output: w.input,
                size: w.size,
                stride: 1,
                dilation: -signed(w.dilation),
                first: signed(w.padding),
            };
        }
        Self {
            input: w.input,
            output: w.output,
            size: w.size,
            stride: w.stride,
            dilation: signed(w.dilation),
            first: -signed(w.padding),
        }
    }

    /// Where a tap lies, inside or not.
    pub(super) fn place(&self, tap: usize, position: usize) -> i64 {
        let signed = |v: usize| i64::try_from(v).unwrap_or(i64::MAX);
        signed(self.stride * position) + self.dilation * signed(tap) + self.first
    }

    /// The element on which a tap lies.
    fn element(&self, tap: usize, position: usize) -> Option<usize> {
        let at = usize::try_from(self.place(tap, position)).ok();
        at.filter(|at| *at < self.input)
    }

    /// The positions at which a tap lies inside, and the element at the first of them.
    fn span(&self, tap: usize) -> (Range<usize>, usize) {
        let mut inside = (0..self.output).filter(|&p| self.element(tap, p).is_some());
        let Some(first) = inside.next() else {
            return (0..0, 0);
        };
        let end = inside.next_back().unwrap_or(first) + 1;
        (first..end, self.element(tap, first).unwrap_or(0))
    }
}

impl Columns {
    /// What the windows of a convolution take from an image; toward the input, what windows over
    /// the positions take that single steps are undone by.
    pub(super) fn new(windows: &[Window], direction: Direction) -> Self {
        let axes: Vec<Axis> = windows.iter().map(|w| Axis::of(w, direction)).collect();
        let one = Axis {
            input: 1,
            output: 1,
            size: 1,
            stride: 1,
            dilation: 1,
            first: 0,
        };
        let (last, outer) = axes.split_last().map_or((one, &[][..]), |(l, o)| (*l, o));
        let mut columns = Self {
            rows: vec![0],
            lines: 1,
            width: last.output,
            row: last.input,
            elements: last.input,
            taps: last.size,
            stride: last.stride,
            spans: (0..last.size).map(|tap| last.span(tap)).collect(),
        };
        let mut taps = 1;
        for axis in outer {
            let (before, lines) = (std::mem::take(&mut columns.rows), columns.lines);
            for tap in 0..taps * axis.size {
                for line in 0..lines * axis.output {
                    let row = before.get(tap / axis.size * lines + line / axis.output);
                    let row = row.copied().filter(|row| *row != OUTSIDE);
                    let on = axis.element(tap % axis.size, line % axis.output);
                    let row = row.zip(on).map_or(OUTSIDE, |(r, on)| r * axis.input + on);
                    columns.rows.push(row);
                }
            }
            taps *= axis.size;
            columns.lines *= axis.output;
            columns.elements *= axis.input;
        }
        columns.taps *= taps;
        columns
    }

    /// Positions on all axes.
    pub(super) fn positions(&self) -> usize {
        self.lines * self.width
    }

    /// True if every position takes the element of the same number: the matrix is the image.
    pub(super) fn is_image(&self) -> bool {
        let whole = self.spans.first() == Some(&(0..self.width, 0));
        self.taps == 1
            && self.stride == 1
            && self.width == self.row
            && whole
            && self
                .rows
                .iter()
                .copied()
                .eq(0..self.elements / self.row.max(1))
    }

    /// The rows of elements under an outer tap at some outer positions.
    fn rows(&self, outer_tap: usize, lines: &Range<usize>) -> &[usize] {
        let at = outer_tap * self.lines;
        let rows = self.rows.get(at + lines.start..at + lines.end);
        rows.unwrap_or_default()
    }

    /// For each channel and tap one row of the matrix, `pitch` words from the one before: the
    /// elements at some outer positions; 0 where the tap lies outside.
    pub(super) fn gather(
        &self,
        channels: &[f32],
        lines: Range<usize>,
        out: &mut [f32],
        pitch: usize,
    ) {
        let len = lines.len() * self.width;
        if len == 0 {
            return;
        }
        let mut out = out.chunks_mut(pitch.max(len));
        for channel in channels.chunks_exact(self.elements.max(1)) {
            for outer in 0..self.taps / self.spans.len().max(1) {
                let rows = self.rows(outer, &lines);
                for span in &self.spans {
                    if let Some(out) = out.next().and_then(|out| out.get_mut(..len)) {
                        self.gather_tap(channel, rows, span, out);
                    }
                }
            }
        }
    }

    fn gather_tap(
        &self,
        channel: &[f32],
        rows: &[usize],
        (span, first): &(Range<usize>, usize),
        mut out: &mut [f32],
    ) {
        if self.stride == 1 && self.width == self.row {
            return self.gather_runs(channel, rows, (span, *first), out);
        }
        for &row in rows {
            let Some((line, rest)) = out.split_at_mut_checked(self.width) else {
                return;
            };
            out = rest;
            let from = (row != OUTSIDE)
                .then(|| channel.get(row * self.row + first..(row + 1) * self.row))
                .flatten();
            let Some((from, inside)) = from.zip(line.get_mut(span.clone())) else {
                line.fill(0.0);
                continue;
            };
            if self.stride == 1 {
                from.iter().zip(inside).for_each(|(x, y)| *y = *x);
            } else {
                let from = from.iter().step_by(self.stride);
                from.zip(inside).for_each(|(x, y)| *y = *x);
            }
            clear(line, span);
        }
    }

    /// As many positions as elements in a row: neighbouring rows are copied as one.
    fn gather_runs(
        &self,
        channel: &[f32],
        rows: &[usize],
        (span, first): (&Range<usize>, usize),
        mut out: &mut [f32],
    ) {
        for run in rows.chunk_by(|a, b| *a != OUTSIDE && a + 1 == *b) {
            let Some((lines, rest)) = out.split_at_mut_checked(run.len() * self.width) else {
                return;
            };
            out = rest;
            let row = run.first().copied().unwrap_or(OUTSIDE);
            if row == OUTSIDE || span.is_empty() {
                lines.fill(0.0);
                continue;
            }
            // From the first element inside on the first row to the last one on the last.
            let len = (run.len() - 1) * self.width + span.len();
            let start = row * self.row + first;
            let from = channel.get(start..start + len);
            let to = lines.get_mut(span.start..span.start + len);
            if let Some((from, to)) = from.zip(to) {
                to.copy_from_slice(from);
            }
            if span.len() < self.width {
                lines
                    .chunks_exact_mut(self.width)
                    .for_each(|line| clear(line, span));
            }
        }
    }

    /// Adds every row of the matrix to the elements that [`Columns::gather`] would take it from.
    pub(super) fn scatter(
        &self,
        matrix: &[f32],
        pitch: usize,
        lines: Range<usize>,
        channels: &mut [f32],
        channel_pitch: usize,
    ) {
        let len = lines.len() * self.width;
        let mut matrix = matrix.chunks(pitch.max(1));
        for channel in channels.chunks_mut(channel_pitch.max(1)) {
            for outer in 0..self.taps / self.spans.len().max(1) {
                let rows = self.rows(outer, &lines);
                for (span, first) in &self.spans {
                    let from = matrix.next().and_then(|from| from.get(..len));
                    let from = from.unwrap_or_default().chunks_exact(self.width.max(1));
                    for (&row, from) in rows.iter().zip(from).filter(|(row, _)| **row != OUTSIDE) {
                        let to = channel.get_mut(row * self.row + first..(row + 1) * self.row);
                        let to = to.unwrap_or_default().iter_mut().step_by(self.stride);
                        let from = from.get(span.clone()).unwrap_or_default();
                        to.zip(from).for_each(|(x, y)| *x += *y);
                    }
                }
            }
        }
    }
}

/// Zeros outside of a span.
fn clear(line: &mut [f32], span: &Range<usize>) {
    line.iter_mut().take(span.start).for_each(|x| *x = 0.0);
    line.iter_mut().skip(span.end).for_each(|x| *x = 0.0);
}
