//! Views as functions from the coordinates of a result to those of its source.

use crate::ops::{Op, Pad, Slide, Window};
use crate::{Index, Node, Shape};

/// Where an element of a view comes from.
pub(crate) enum Source {
    /// An element of the only input.
    At(Vec<Index>),
    /// An element of the input where all these hold (`low ≤ index < high`), else the padding.
    Padded(Vec<Index>, Vec<Range>),
    /// For each input: the element, and the range of the joined axis that it covers.
    Joined(Vec<(Vec<Index>, Range)>),
}

/// `low ≤ index < high`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) index: Index,
    pub(crate) low: i64,
    pub(crate) high: i64,
}

impl Range {
    /// `0 ≤ index < high`, unless that always holds.
    fn below(index: Index, high: usize, sizes: &[usize]) -> Option<Self> {
        let (low, high) = (0, int(high));
        let (least, greatest) = index.range(sizes);
        (least < low || greatest >= high).then_some(Self { index, low, high })
    }
}

/// The element on which tap `k` lies at position `p`, and when there is one.
pub(super) fn tap(w: &Window, p: &Index, k: &Index, sizes: &[usize]) -> (Index, Vec<Range>) {
    let q = p.scaled(int(w.stride)).plus(&k.scaled(int(w.dilation)));
    let q = q.shifted(-int(w.padding));
    let range = Range::below(q.clone(), w.input, sizes);
    (q, range.into_iter().collect())
}

/// The position at which tap `k` lies on element `q`, and when there is one.
pub(super) fn position(w: &Window, q: &Index, k: &Index, sizes: &[usize]) -> (Index, Vec<Range>) {
    let ahead = q.plus(&k.scaled(-int(w.dilation))).shifted(int(w.padding));
    let p = ahead.div(int(w.stride), sizes);
    let on_step = Range::below(ahead.rem(int(w.stride), sizes), 1, sizes);
    let range = Range::below(p.clone(), w.output, sizes);
    (p, on_step.into_iter().chain(range).collect())
}

fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The source of the element at `at` of a view; `None` for ops that are not views.
pub(crate) fn source(
    node: &Node,
    inputs: &[Shape],
    at: &[Index],
    sizes: &[usize],
) -> Option<Source> {
    let x = *inputs.first()?;
    Some(match &node.op {
        Op::Reshape(_) => Source::At(Index::linear(at, &node.meta.shape).unravel(&x, sizes)),
        Op::Expand(_) => {
            let pick = |(axis, c): (usize, &Index)| match x[axis] {
                1 => Index::default(),
                _ => c.clone(),
            };
            Source::At(at.iter().enumerate().map(pick).collect())
        }
        Op::Permute(p) => Source::At(p.inverse().iter().map(|&a| at[a].clone()).collect()),
        Op::Slice(s) => {
            let place = |(axis, c): (usize, &Index)| {
                c.scaled(int(s.step[axis])).shifted(int(s.start[axis]))
            };
            Source::At(at.iter().enumerate().map(place).collect())
        }
        Op::Flip(f) => {
            let place = |(axis, c): (usize, &Index)| match f.axes.contains(&axis) {
                true => c.scaled(-1).shifted(int(x[axis]) - 1),
                false => c.clone(),
            };
            Source::At(at.iter().enumerate().map(place).collect())
        }
        Op::Pad(Pad { before, after, .. }) => {
            let inner: Vec<Index> = at
                .iter()
                .zip(before)
                .map(|(c, &b)| c.shifted(-int(b)))
                .collect();
            let ranges = inner
                .iter()
                .enumerate()
                .filter(|(a, _)| before[*a] + after[*a] > 0);
            let ranges = ranges
                .map(|(a, c)| Range {
                    index: c.clone(),
                    low: 0,
                    high: int(x[a]),
                })
                .collect();
            Source::Padded(inner, ranges)
        }
        Op::Concat(join) => {
            let mut start = 0;
            let parts = inputs.iter().map(|shape| {
                let mut inner = at.to_vec();
                inner[join.axis] = at[join.axis].shifted(-start);
                start += int(shape[join.axis]);
                let range = Range {
                    index: inner[join.axis].clone(),
                    low: 0,
                    high: int(shape[join.axis]),
                };
                (inner, range)
            });
            Source::Joined(parts.collect())
        }
        Op::Slide(s) => {
            let Slide { axis, taps, .. } = *s;
            let step = if s.back { position } else { tap };
            let (place, ranges) = step(&s.window, &at[axis], &at[taps], sizes);
            let mut inner = at.to_vec();
            inner[axis] = place;
            Source::Padded(inner, ranges)
        }
        _ => return None,
    })
}
