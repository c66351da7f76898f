//! Copies of short lines, between where they follow each other and where they are apart.

use pulp::{Arch, Simd, WithSimd};

/// `wide[places[l] + i] = dense[l · width + i]`.
pub(crate) fn spread_lines(
    arch: Arch,
    dense: &[f32],
    width: usize,
    places: &[usize],
    wide: &mut [f32],
) {
    arch.dispatch(Spread {
        dense,
        width,
        places,
        wide,
    });
}

/// `dense[l · width + i] = wide[places[l] + i]`.
pub(crate) fn collect_lines(
    arch: Arch,
    wide: &[f32],
    width: usize,
    places: &[usize],
    dense: &mut [f32],
) {
    arch.dispatch(Collect {
        wide,
        width,
        places,
        dense,
    });
}

struct Spread<'a> {
    dense: &'a [f32],
    width: usize,
    places: &'a [usize],
    wide: &'a mut [f32],
}

impl WithSimd for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lines = self.dense.chunks_exact(self.width.max(1));
        for (line, &place) in lines.zip(self.places) {
            if let Some(to) = self.wide.get_mut(place..place + line.len()) {
                copy(simd, line, to);
            }
        }
    }
}

struct Collect<'a> {
    wide: &'a [f32],
    width: usize,
    places: &'a [usize],
    dense: &'a mut [f32],
}

impl WithSimd for Collect<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lines = self.dense.chunks_exact_mut(self.width.max(1));
        for (line, &place) in lines.zip(self.places) {
            if let Some(from) = self.wide.get(place..place + line.len()) {
                copy(simd, from, line);
            }
        }
    }
}

/// Whole vectors, then a part of one: a call of `memcpy` takes longer than a short line.
#[inline(always)]
fn copy<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let (from, from_rest) = S::as_simd_f32s(from);
    let (to, to_rest) = S::as_mut_simd_f32s(to);
    for (from, to) in from.iter().zip(to) {
        *to = *from;
    }
    if !from_rest.is_empty() {
        simd.partial_store_f32s(to_rest, simd.partial_load_f32s(from_rest));
    }
}
