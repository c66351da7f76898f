//! Sums and products of shifted arrays: what convolutions of padded images are.

use pulp::{Arch, Simd, WithSimd};

/// Words of the longest block that sums are made in.
pub(crate) const SHORTEST: usize = 128;

/// Channels, `plane` words apart, of which shifted copies are taken: `shifts` words further on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shifted<'a> {
    pub(crate) words: &'a [f32],
    pub(crate) plane: usize,
    pub(crate) shifts: &'a [usize],
}

/// The outputs that [`sums`] should make at once, if there are so many.
pub(crate) fn outputs_at_once(arch: Arch) -> usize {
    arch.dispatch(Registers) / 4
}

/// `out[o, i] = Σ weights[c, t, o] · x[c · plane + shifts[t] + i]` for 1, 2, 4 or 8 outputs and rows
/// of `pitch` words, at least [`SHORTEST`].
pub(crate) fn shifted_sums(
    arch: Arch,
    x: Shifted<'_>,
    weights: &[f32],
    outputs: usize,
    out: &mut [f32],
    pitch: usize,
) {
    arch.dispatch(Sums {
        x,
        weights,
        outputs,
        out,
        pitch,
    });
}

/// `sums[o, c, t] += Σ y[o · pitch + i] · x[c · plane + shifts[t] + i]`, of `pitch` words: a
/// multiple of 16.
pub(crate) fn shifted_products(
    arch: Arch,
    x: Shifted<'_>,
    y: &[f32],
    pitch: usize,
    sums: &mut [f32],
) {
    arch.dispatch(Products { x, y, pitch, sums });
}

struct Registers;

impl WithSimd for Registers {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::REGISTER_COUNT.clamp(16, 32)
    }
}

struct Sums<'a> {
    x: Shifted<'a>,
    weights: &'a [f32],
    outputs: usize,
    out: &'a mut [f32],
    pitch: usize,
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums at once as there are registers for, and as hide how long an addition takes.
        match self.outputs {
            8 => self.blocks::<S, 8, 3, 2>(simd),
            4 => self.blocks::<S, 4, 3, 2>(simd),
            2 => self.blocks::<S, 2, 6, 4>(simd),
            _ => self.blocks::<S, 1, 8, 4>(simd),
        }
    }
}

impl Sums<'_> {
    /// Blocks of `LONG` or of `SHORT` vectors, whichever do less in vain. The last one begins early.
    #[inline(always)]
    fn blocks<S: Simd, const OUTPUTS: usize, const LONG: usize, const SHORT: usize>(self, simd: S) {
        let pitch = self.pitch;
        let mut rows = self.out.chunks_exact_mut(pitch.max(1));
        let mut rows: [&mut [f32]; OUTPUTS] =
            std::array::from_fn(|_| rows.next().unwrap_or_default());
        let covered = |vectors: usize| pitch.next_multiple_of(vectors * S::F32_LANES);
        let (x, weights) = (self.x, self.weights);
        let starts = |len: usize| {
            let last = pitch.saturating_sub(len);
            (0..last).step_by(len).chain([last])
        };
        if covered(LONG) <= covered(SHORT) {
            for at in starts(LONG * S::F32_LANES) {
                block::<S, OUTPUTS, LONG>(simd, x, weights, &mut rows, at);
            }
        } else {
            for at in starts(SHORT * S::F32_LANES) {
                block::<S, OUTPUTS, SHORT>(simd, x, weights, &mut rows, at);
            }
        }
    }
}

#[inline(always)]
fn block<S: Simd, const OUTPUTS: usize, const VECTORS: usize>(
    simd: S,
    x: Shifted<'_>,
    weights: &[f32],
    rows: &mut [&mut [f32]; OUTPUTS],
    at: usize,
) {
    let len = VECTORS * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; OUTPUTS];
    let (weights, _) = weights.as_chunks::<OUTPUTS>();
    for (channel, weights) in weights.chunks_exact(x.shifts.len().max(1)).enumerate() {
        let words = x.words.get(channel * x.plane + at..).unwrap_or_default();
        for (&shift, weights) in x.shifts.iter().zip(weights) {
            let words = words.get(shift..shift + len).unwrap_or_default();
            let Some(x) = S::as_simd_f32s(words).0.first_chunk::<VECTORS>() else {
                continue;
            };
            for (sums, weight) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(*weight);
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = simd.mul_add_e_f32s(weight, *x, *sum);
                }
            }
        }
    }
    for (row, sums) in rows.iter_mut().zip(sums) {
        let row = row.get_mut(at..at + len).unwrap_or_default();
        let row = S::as_mut_simd_f32s(row).0;
        row.iter_mut().zip(sums).for_each(|(row, sum)| *row = sum);
    }
}

struct Products<'a> {
    x: Shifted<'a>,
    y: &'a [f32],
    pitch: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let outputs = self.y.len() / self.pitch.max(1);
        let terms = self.sums.len() / outputs.max(1);
        let (y, sums) = (self.y, self.sums);
        let mut rest = (y, sums);
        while !rest.0.is_empty() {
            let left = rest.0.len() / self.pitch.max(1);
            let count = match S::REGISTER_COUNT {
                32.. if left >= 4 => 4,
                _ if left >= 2 => 2,
                _ => 1,
            };
            let (y, after) = rest.0.split_at(count * self.pitch);
            let (sums, sums_after) = rest.1.split_at_mut(count * terms);
            rest = (after, sums_after);
            match count {
                4 => rows::<S, 4, 6>(simd, self.x, y, self.pitch, sums),
                2 => rows::<S, 2, 6>(simd, self.x, y, self.pitch, sums),
                _ => rows::<S, 1, 9>(simd, self.x, y, self.pitch, sums),
            }
        }
    }
}

/// The sums of some outputs, of `TERMS` shifted channels at once.
#[inline(always)]
fn rows<S: Simd, const OUTPUTS: usize, const TERMS: usize>(
    simd: S,
    x: Shifted<'_>,
    y: &[f32],
    pitch: usize,
    sums: &mut [f32],
) {
    let terms = sums.len() / OUTPUTS;
    let mut at = 0;
    while at + TERMS <= terms {
        tile::<S, OUTPUTS, TERMS>(simd, x, y, pitch, sums, at);
        at += TERMS;
    }
    while at + 3 <= terms {
        tile::<S, OUTPUTS, 3>(simd, x, y, pitch, sums, at);
        at += 3;
    }
    while at < terms {
        tile::<S, OUTPUTS, 1>(simd, x, y, pitch, sums, at);
        at += 1;
    }
}

#[inline(always)]
fn tile<S: Simd, const OUTPUTS: usize, const TERMS: usize>(
    simd: S,
    x: Shifted<'_>,
    y: &[f32],
    pitch: usize,
    sums: &mut [f32],
    at: usize,
) {
    let count = pitch / S::F32_LANES;
    let x: [&[S::f32s]; TERMS] = std::array::from_fn(|i| {
        let (channel, tap) = ((at + i) / x.shifts.len(), (at + i) % x.shifts.len());
        let shift = x.shifts.get(tap).copied().unwrap_or(0);
        vectors::<S>(x.words, channel * x.plane + shift, pitch)
    });
    let y: [&[S::f32s]; OUTPUTS] = std::array::from_fn(|o| vectors::<S>(y, o * pitch, pitch));
    if x.iter().any(|x| x.len() < count) || y.iter().any(|y| y.len() < count) {
        return;
    }
    let (x, y) = (x.map(|x| &x[..count]), y.map(|y| &y[..count]));
    let mut acc = [[simd.splat_f32s(0.0); TERMS]; OUTPUTS];
    for i in 0..count {
        let y: [S::f32s; OUTPUTS] = std::array::from_fn(|o| y[o][i]);
        for t in 0..TERMS {
            let x = x[t][i];
            for o in 0..OUTPUTS {
                acc[o][t] = simd.mul_add_e_f32s(y[o], x, acc[o][t]);
            }
        }
    }
    let terms = sums.len() / OUTPUTS;
    for (sums, acc) in sums.chunks_exact_mut(terms.max(1)).zip(acc) {
        let sums = sums.get_mut(at..at + TERMS).unwrap_or_default();
        for (sum, acc) in sums.iter_mut().zip(acc) {
            *sum += simd.reduce_sum_f32s(acc);
        }
    }
}

#[inline(always)]
fn vectors<S: Simd>(words: &[f32], start: usize, len: usize) -> &[S::f32s] {
    let words = words.get(start..start + len).unwrap_or_default();
    S::as_simd_f32s(words).0
}
