//! Moves elements that are not neighbours in memory.

use pulp::{Arch, NullaryFnOnce};

/// Lines of `len` elements that are `stride` apart. Lines are `step` apart in memory and `pitch` in
/// registers, where the elements of a line are neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided {
    pub(crate) len: usize,
    pub(crate) stride: usize,
    pub(crate) lines: usize,
    pub(crate) step: usize,
    pub(crate) pitch: usize,
}

impl Strided {
    /// Words from the first to the last.
    pub(crate) fn span(&self) -> usize {
        let (lines, len) = (self.lines.saturating_sub(1), self.len.saturating_sub(1));
        let line = len.saturating_mul(self.stride);
        lines
            .saturating_mul(self.step)
            .saturating_add(line)
            .saturating_add(1)
    }
}

/// Loads elements; `words` may go on behind the last one.
pub(crate) fn gather(arch: Arch, words: &[u32], lines: Strided, out: &mut [u32]) {
    arch.dispatch(Gather { words, lines, out });
}

/// Stores elements; `words` may go on behind the last one. No other one is changed.
pub(crate) fn scatter(arch: Arch, values: &[u32], lines: Strided, words: &mut [u32]) {
    arch.dispatch(Scatter {
        values,
        lines,
        words,
    });
}

struct Gather<'a> {
    words: &'a [u32],
    lines: Strided,
    out: &'a mut [u32],
}

impl NullaryFnOnce for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Strided {
            len,
            stride,
            lines,
            step,
            pitch,
        } = self.lines;
        if step == 1 && stride > 1 {
            // Neighbours in memory belong to different lines. Every cache line is read once, and
            // what is scattered stays in the nearest cache.
            for i in 0..len {
                let words = self.words.get(i * stride..).unwrap_or_default();
                let places = self.out.iter_mut().skip(i).step_by(pitch.max(1));
                places.zip(words).take(lines).for_each(|(o, w)| *o = *w);
            }
            return;
        }
        // Strides that are known make shuffles of vectors.
        match stride {
            0 => self.lines(|words, out| out.fill(words.first().copied().unwrap_or(0))),
            1 => self.lines(gather_line::<1>),
            2 => self.lines(gather_line::<2>),
            3 => self.lines(gather_line::<3>),
            4 => self.lines(gather_line::<4>),
            _ => self.lines(|words, out| gather_each(words, stride, out)),
        }
    }
}

impl Gather<'_> {
    /// Calls `f` with the words of every line and its place in registers.
    #[inline(always)]
    fn lines(self, f: impl Fn(&[u32], &mut [u32])) {
        let lines = self.lines;
        for line in 0..lines.lines {
            let words = self.words.get(line * lines.step..).unwrap_or_default();
            let first = line * lines.pitch;
            let out = self.out.get_mut(first..first + lines.len);
            f(words, out.unwrap_or_default());
        }
    }
}

#[inline(always)]
fn gather_line<const STRIDE: usize>(words: &[u32], out: &mut [u32]) {
    let (items, _) = words.as_chunks::<STRIDE>();
    let len = out.len();
    let whole = items.get(..len);
    match whole {
        Some(items) if len >= 8 => gather_vectors::<STRIDE, 8>(items, out),
        Some(items) if len >= 4 => gather_vectors::<STRIDE, 4>(items, out),
        _ => gather_each(words, STRIDE, out),
    }
}

#[inline(always)]
fn gather_each(words: &[u32], stride: usize, out: &mut [u32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = words.get(i * stride).copied().unwrap_or(0);
    }
}

/// At least one vector; the last one may overlap the one before.
#[inline(always)]
fn gather_vectors<const STRIDE: usize, const LANES: usize>(
    items: &[[u32; STRIDE]],
    out: &mut [u32],
) {
    let (from, _) = items.as_chunks::<LANES>();
    let (to, _) = out.as_chunks_mut::<LANES>();
    for (from, to) in from.iter().zip(to) {
        *to = from.map(|item| item[0]);
    }
    if let (Some(from), Some(to)) = (items.last_chunk::<LANES>(), out.last_chunk_mut::<LANES>()) {
        *to = from.map(|item| item[0]);
    }
}

struct Scatter<'a> {
    values: &'a [u32],
    lines: Strided,
    words: &'a mut [u32],
}

impl NullaryFnOnce for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Strided {
            len,
            stride,
            lines,
            step,
            pitch,
        } = self.lines;
        for line in 0..lines {
            let words = self.words.get_mut(line * step..).unwrap_or_default();
            let values = self.values.get(line * pitch..line * pitch + len);
            let values = values.unwrap_or_default();
            match stride {
                1 => scatter_line::<1>(values, words),
                2 => scatter_line::<2>(values, words),
                3 => scatter_line::<3>(values, words),
                4 => scatter_line::<4>(values, words),
                _ => scatter_each(values, stride, words),
            }
        }
    }
}

#[inline(always)]
fn scatter_line<const STRIDE: usize>(values: &[u32], words: &mut [u32]) {
    let (items, _) = words.as_chunks_mut::<STRIDE>();
    let done = scatter_vectors::<STRIDE, 8>(values, items, 0);
    let done = scatter_vectors::<STRIDE, 4>(values, items, done);
    let words = words.get_mut(done * STRIDE..).unwrap_or_default();
    scatter_each(values.get(done..).unwrap_or_default(), STRIDE, words);
}

#[inline(always)]
fn scatter_each(values: &[u32], stride: usize, words: &mut [u32]) {
    for (i, value) in values.iter().enumerate() {
        if let Some(word) = words.get_mut(i * stride) {
            *word = *value;
        }
    }
}

/// Stores whole vectors of values from `at` on, and returns where it stopped. All words are written,
/// those between as they are. Vectors do not overlap: what was just stored is slow to load.
#[inline(always)]
fn scatter_vectors<const STRIDE: usize, const LANES: usize>(
    values: &[u32],
    items: &mut [[u32; STRIDE]],
    mut at: usize,
) -> usize {
    while let Some(from) = values.get(at..).and_then(|v| v.first_chunk::<LANES>())
        && let Some(to) = items.get_mut(at..)
        && let Some(to) = to.first_chunk_mut::<LANES>()
    {
        let mut new = *to;
        for (item, value) in new.iter_mut().zip(from) {
            item[0] = *value;
        }
        *to = new;
        at += LANES;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_goes_where_it_belongs() {
        for stride in 0..6 {
            for (len, lines, gap) in [(1, 3, 2), (3, 2, 0), (7, 5, 1), (14, 3, 0), (29, 2, 3)] {
                let (step, pitch) = (len * stride + gap, len + gap);
                let grid = Strided {
                    len,
                    stride,
                    lines,
                    step,
                    pitch,
                };
                let words: Vec<u32> = (0..).take(grid.span()).collect();
                let mut out = vec![u32::MAX; lines * pitch];
                gather(Arch::new(), &words, grid, &mut out);
                let mut back = vec![u32::MAX; grid.span()];
                if stride > 0 {
                    scatter(Arch::new(), &out, grid, &mut back);
                }
                for (at, x) in out.iter().enumerate() {
                    let (line, i) = (at / pitch, at % pitch);
                    let place = line * step + i * stride;
                    let expected = if i < len { words[place] } else { u32::MAX };
                    assert_eq!(*x, expected, "element {i} of line {line} of {grid:?}");
                    if i < len && stride > 0 {
                        assert_eq!(back[place], words[place]);
                        back[place] = u32::MAX;
                    }
                }
                assert!(back.iter().all(|w| *w == u32::MAX), "written between");
            }
        }
    }
}
