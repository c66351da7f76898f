//! The weights of a block of queries, from their products with the keys.

use std::ops::Range;

use gradus_graph::backend::StepRow;
use gradus_graph::ops::{Dropout, EXCLUDED, Real};
use gradus_graph::step_row;
use pulp::{Arch, NullaryFnOnce};

use crate::exec::simd::{Key, Lane, random};

/// Terms that are summed apart from one another, so that vectors can be used.
const LANES: usize = 16;

/// How the weights of one head are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) scale: f32,
    pub(super) causal: bool,
    pub(super) mask: Option<Mask<'a>>,
    pub(super) dropout: Option<Drop>,
    /// The number of the head's first weight among all, for random bits.
    pub(super) first: usize,
    /// Keys of a query.
    pub(super) keys: usize,
}

/// The mask of one head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask<'a> {
    pub(super) words: &'a [u32],
    pub(super) is_bool: bool,
    /// Words from one query and key to the next.
    pub(super) query: usize,
    pub(super) key: usize,
}

/// Which weights are dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drop {
    key: Key,
    threshold: u32,
    scale: f32,
}

impl Drop {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a threshold has 24 bits, and weights have f32"
    )]
    pub(super) fn new(dropout: &Dropout, row: &StepRow) -> Self {
        let word = |i: u32| row.get(i as usize).copied().unwrap_or(0);
        Self {
            key: Key {
                seed: u64::from(word(step_row::SEED_LOW))
                    | u64::from(word(step_row::SEED_HIGH)) << 32,
                stream: dropout.stream,
                step: word(step_row::STEP),
            },
            threshold: dropout.threshold() as u32,
            scale: dropout.scale() as f32,
        }
    }

    /// What the weights are multiplied by, from the one of this number on.
    pub(super) fn factors(&self, arch: Arch, first: usize, bits: &mut [u32]) {
        #[allow(clippy::cast_possible_truncation, reason = "counters have 32 bits")]
        random(arch, self.key, first as u32, bits);
        for word in bits {
            let factor = if *word >> 8 >= self.threshold {
                self.scale
            } else {
                0.0
            };
            *word = factor.to_bits();
        }
    }
}

impl Setting<'_> {
    /// How many of the first `keys` these queries need: those at the end that a mask excludes from
    /// all of them are left out, such as padding, or room for keys that are still to come.
    pub(super) fn reach(&self, mut queries: Range<usize>, keys: usize) -> usize {
        let Some(mask) = self.mask.filter(|mask| mask.is_bool && mask.key == 1) else {
            return keys;
        };
        if mask.query == 0 {
            queries.end = queries.end.min(queries.start + 1);
        }
        let reach = |query: usize| {
            let words = mask.words.get(query * mask.query..).unwrap_or_default();
            let words = words.get(..keys).unwrap_or(words);
            words
                .iter()
                .rposition(|&word| word != 0)
                .map_or(0, |last| last + 1)
        };
        // At least one: a block has no rows without columns.
        queries.map(reach).max().unwrap_or(keys).max(1)
    }
}

/// The block: rows of products of queries with the first `cols` keys.
#[derive(Debug)]
pub(super) struct Block<'a, 's> {
    pub(super) setting: &'s Setting<'s>,
    pub(super) rows: &'a mut [f32],
    pub(super) cols: usize,
    /// The query of the first row.
    pub(super) query: usize,
}

impl Block<'_, '_> {
    /// Keys that a row attends to, from the first on.
    #[inline(always)]
    fn live(&self, row: usize) -> usize {
        match self.setting.causal {
            true => self.cols.min(self.query + row + 1),
            false => self.cols,
        }
    }

    /// Scales the products, adds the mask; −∞ where it excludes.
    #[inline(always)]
    fn score(&self, row: &mut [f32], query: usize) {
        let scale = self.setting.scale;
        let Some(mask) = &self.setting.mask else {
            row.iter_mut().for_each(|x| *x *= scale);
            return;
        };
        let words = mask.words.get(query * mask.query..).unwrap_or_default();
        let apply = |x: &mut f32, word: u32| {
            let added = f32::from_bits(word);
            let (allowed, added) = match mask.is_bool {
                true => (word != 0, 0.0),
                false => (added > EXCLUDED, added),
            };
            *x = if allowed {
                *x * scale + added
            } else {
                f32::NEG_INFINITY
            };
        };
        match mask.key {
            0 => {
                let word = words.first().copied().unwrap_or(0);
                row.iter_mut().for_each(|x| apply(x, word));
            }
            _ => row.iter_mut().zip(words).for_each(|(x, w)| apply(x, *w)),
        }
    }
}

/// Replaces products by exponentials; sums and logarithms of the sums for each row.
pub(super) struct Softmax<'a, 's> {
    pub(super) block: Block<'a, 's>,
    /// One over the sum; 0 for a query without keys.
    pub(super) shares: &'a mut [f32],
    /// Logarithm of the sum; 0 for a query without keys.
    pub(super) logs: &'a mut [f32],
}

impl NullaryFnOnce for Softmax<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let cols = self.block.cols.max(1);
        let rows = std::mem::take(&mut self.block.rows);
        for (i, row) in rows.chunks_exact_mut(cols).enumerate() {
            let (row, rest) = row.split_at_mut(self.block.live(i).min(cols));
            rest.fill(0.0);
            self.block.score(row, self.block.query + i);
            let most = most(row);
            row.iter_mut().for_each(|x| *x = Lane(*x - most).exp().0);
            let sum = sum(row.iter().copied());
            let none = sum == 0.0;
            if let (Some(share), Some(log)) = (self.shares.get_mut(i), self.logs.get_mut(i)) {
                *share = if none { 0.0 } else { 1.0 / sum };
                *log = if none { 0.0 } else { most + Lane(sum).ln().0 };
            }
        }
    }
}

/// Replaces products by weights, from the logarithms of the sums.
pub(super) struct Weights<'a, 's> {
    pub(super) block: Block<'a, 's>,
    pub(super) logs: &'a [f32],
}

impl NullaryFnOnce for Weights<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let cols = self.block.cols.max(1);
        let rows = std::mem::take(&mut self.block.rows);
        for (i, (row, log)) in rows.chunks_exact_mut(cols).zip(self.logs).enumerate() {
            let (row, rest) = row.split_at_mut(self.block.live(i).min(cols));
            rest.fill(0.0);
            self.block.score(row, self.block.query + i);
            row.iter_mut().for_each(|x| *x = Lane(*x - log).exp().0);
        }
    }
}

/// Replaces `dp` by `scale · ds` and `p` by what is left of it after dropping:
/// `dsᵢⱼ = pᵢⱼ (zᵢⱼ dpᵢⱼ − δᵢ)`, where `z` are the factors of dropping.
pub(super) struct Gradient<'a> {
    pub(super) p: &'a mut [f32],
    pub(super) dp: &'a mut [f32],
    /// None if nothing is dropped.
    pub(super) factors: Option<&'a [f32]>,
    pub(super) cols: usize,
    /// `δ` of each row.
    pub(super) deltas: &'a [f32],
    pub(super) scale: f32,
}

impl NullaryFnOnce for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let cols = self.cols.max(1);
        let rows = self
            .p
            .chunks_exact_mut(cols)
            .zip(self.dp.chunks_exact_mut(cols));
        for (i, ((p, dp), delta)) in rows.zip(self.deltas).enumerate() {
            let Some(factors) = self.factors else {
                let pairs = p.iter().zip(dp);
                pairs.for_each(|(p, dp)| *dp = p * (*dp - delta) * self.scale);
                continue;
            };
            let factors = factors.get(i * cols..).unwrap_or_default();
            for ((p, dp), z) in p.iter_mut().zip(dp).zip(factors) {
                *dp = *p * (z * *dp - delta) * self.scale;
                *p *= z;
            }
        }
    }
}

/// `δᵢ = yᵢ·dyᵢ` of rows that are so far apart.
pub(super) struct Deltas<'a> {
    pub(super) y: super::Matrix<'a>,
    pub(super) dy: super::Matrix<'a>,
    pub(super) width: usize,
    pub(super) deltas: &'a mut [f32],
}

impl<'a> NullaryFnOnce for Deltas<'a> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (i, delta) in self.deltas.iter_mut().enumerate() {
            let row = |m: super::Matrix<'a>| {
                let start = i * m.row_stride;
                m.words.get(start..start + self.width).unwrap_or_default()
            };
            let pairs = row(self.y).iter().zip(row(self.dy));
            *delta = sum(pairs.map(|(y, dy)| y * dy));
        }
    }
}

/// The largest; the lowest float if there is nothing. NaN is passed over: it is met again.
#[inline(always)]
fn most(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::MIN; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(f32::MIN, |a, b| larger(a, *b))
}

/// The sum, in an order that depends on the number of terms alone.
#[inline(always)]
fn sum(terms: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut terms = terms;
    while terms.len() >= LANES {
        for lane in &mut lanes {
            *lane += terms.next().unwrap_or(0.0);
        }
    }
    let rest: f32 = terms.sum();
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0] + rest
}
