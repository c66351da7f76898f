//! Stores of several columns whose elements alternate in memory.

use pulp::{Arch, NullaryFnOnce};

use super::Strided;

/// The most columns that are woven.
pub(crate) const WOVEN: usize = 4;

/// Columns of values, `pitch` words apart, from `first` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) values: &'a [u32],
    pub(crate) pitch: usize,
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// `words[line · step + i · count + c]` becomes element `line · lines.pitch + i` of column `c`, for 2
/// to [`WOVEN`] columns.
pub(crate) fn weave(arch: Arch, columns: Columns<'_>, lines: Strided, words: &mut [u32]) {
    arch.dispatch(Weave {
        columns,
        lines,
        words,
    });
}

struct Weave<'a> {
    columns: Columns<'a>,
    lines: Strided,
    words: &'a mut [u32],
}

impl NullaryFnOnce for Weave<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match self.columns.count {
            2 => self.lines::<2>(),
            3 => self.lines::<3>(),
            4 => self.lines::<4>(),
            _ => {}
        }
    }
}

impl Weave<'_> {
    #[inline(always)]
    fn lines<const COUNT: usize>(self) {
        let Columns {
            values,
            pitch,
            first,
            ..
        } = self.columns;
        let lines = self.lines;
        for line in 0..lines.lines {
            let start = first + line * lines.pitch;
            let column = |c: usize| {
                let start = start + c * pitch;
                values.get(start..start + lines.len).unwrap_or_default()
            };
            let columns: [&[u32]; COUNT] = std::array::from_fn(column);
            let words = self.words.get_mut(line * lines.step..).unwrap_or_default();
            let (items, _) = words.as_chunks_mut::<COUNT>();
            let items = items.get_mut(..lines.len).unwrap_or_default();
            match lines.len {
                8.. => weave_line::<COUNT, 8>(columns, items),
                4.. => weave_line::<COUNT, 4>(columns, items),
                _ => weave_line::<COUNT, 1>(columns, items),
            }
        }
    }
}

/// At least one vector of each column; the last one may overlap the one before.
#[inline(always)]
fn weave_line<const COUNT: usize, const LANES: usize>(
    columns: [&[u32]; COUNT],
    items: &mut [[u32; COUNT]],
) {
    let mut put = |at: usize| {
        let mut vectors = [[0; LANES]; COUNT];
        for (vector, column) in vectors.iter_mut().zip(columns) {
            match column.get(at..).and_then(|c| c.first_chunk::<LANES>()) {
                Some(words) => *vector = *words,
                None => return,
            }
        }
        let items = items
            .get_mut(at..)
            .and_then(|i| i.first_chunk_mut::<LANES>());
        if let Some(items) = items {
            *items = std::array::from_fn(|i| std::array::from_fn(|c| vectors[c][i]));
        }
    };
    let len = columns.first().map_or(0, |c| c.len());
    let mut at = 0;
    while at + LANES <= len {
        put(at);
        at += LANES;
    }
    if at < len {
        put(len - LANES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_goes_where_it_belongs() {
        for count in 2..=WOVEN {
            for (len, lines, gap) in [(1, 3, 2), (3, 2, 0), (7, 5, 1), (14, 3, 0), (29, 2, 3)] {
                let (pitch, first) = (lines * len + 5, 2);
                let values: Vec<u32> = (0..).take(count * pitch).collect();
                let grid = Strided {
                    len,
                    stride: count,
                    lines,
                    step: len * count + gap,
                    pitch: len,
                };
                let columns = Columns {
                    values: &values,
                    pitch,
                    first,
                    count,
                };
                let mut words = vec![u32::MAX; lines * grid.step];
                weave(Arch::new(), columns, grid, &mut words);
                for (at, word) in words.into_iter().enumerate() {
                    let (line, on) = (at / grid.step, at % grid.step);
                    let (i, c) = (on / count, on % count);
                    let value = values.get(c * pitch + first + line * len + i);
                    let expected = value.filter(|_| i < len).unwrap_or(&u32::MAX);
                    assert_eq!(word, *expected, "word {at} of {grid:?}");
                }
            }
        }
    }
}
