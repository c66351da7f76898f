//! Runs of equidistant positions in memory.

use std::ops::Range;

/// `start`, `start + stride`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: i64,
    pub(super) stride: i64,
    pub(super) len: usize,
}

/// `lines` times `len` positions: the first of each line is `stride` from the one before, and
/// within a line they are adjacent. In registers it is the other way round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossed {
    pub(super) start: i64,
    pub(super) stride: i64,
    pub(super) lines: usize,
    pub(super) len: usize,
}

impl Run {
    /// The numbers.
    pub(super) fn iter(self) -> impl Iterator<Item = i64> {
        (0..self.len).map(move |i| self.start + signed(i) * self.stride)
    }

    /// The stride, and the positions from the first to the last, if they ascend.
    pub(super) fn span(self) -> Option<(usize, usize)> {
        let stride = usize::try_from(self.stride).ok().filter(|s| *s > 0)?;
        let steps = self.len.checked_sub(1)?;
        Some((stride, steps.checked_mul(stride)? + 1))
    }
}

/// A range of positions on some axes.
pub(super) struct Line<'a> {
    pub(super) sizes: &'a [usize],
    pub(super) strides: &'a [i64],
    pub(super) range: Range<usize>,
}

impl Line<'_> {
    /// The positions from here to the end of the range or of the last axis.
    #[inline]
    pub(super) fn segment(&self, position: usize) -> Run {
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
    pub(super) fn segments(&self, mut f: impl FnMut(usize, Run)) {
        let mut position = self.range.start;
        while position < self.range.end {
            let run = self.segment(position);
            f(position - self.range.start, run);
            position += run.len.max(1);
        }
    }
}

/// Both dimensions of a part of a tile as one run, if it is one: `pitch` is the distance in
/// registers from one position on the outer dimension to the next.
#[inline]
pub(super) fn joined(inner: Run, outer: Run, pitch: usize) -> Option<Run> {
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

pub(super) fn signed(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}
