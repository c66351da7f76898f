//! bfloat16: the upper half of an `f32`, so eight bits of precision with the range of `f32`.

/// The nearest bfloat16, halves to even. What is too large becomes ∞, NaN stays NaN.
#[inline(always)]
pub fn round(x: f32) -> f32 {
    f32::from_bits(u32::from(bits(x)) << 16)
}

/// The bits of the nearest bfloat16.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the upper half has 16 bits"
)]
pub fn bits(x: f32) -> u16 {
    let bits = x.to_bits();
    // Half of the last place, less one where that place is even; the carry may reach the exponent.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A NaN may have its bits in the lower half alone.
    let nan = bits >> 16 | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 {
        nan
    } else {
        rounded
    }) as u16
}

/// The words in which so many bfloat16 are packed, two in each, the first in the lower half.
pub const fn words(len: usize) -> usize {
    len.div_ceil(2)
}

/// Element `i` of packed words as the bits of an `f32`.
#[inline(always)]
pub const fn unpacked(words: &[u32], i: usize) -> u32 {
    let word = words[i / 2];
    if i.is_multiple_of(2) {
        word << 16
    } else {
        word & 0xffff_0000
    }
}
