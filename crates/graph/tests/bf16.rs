//! Rounding to bfloat16, bit by bit.

use gradus_graph::bf16;
use gradus_graph::ops::Unary;
use half::bf16 as Half;

/// Every upper half, with lower halves around a half of the last place and at both ends.
#[test]
fn rounding_is_that_of_the_half_crate() {
    for upper in 0..=0xffff_u32 {
        for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xbfff, 0xffff] {
            let x = f32::from_bits(upper << 16 | lower);
            let (found, expected) = (bf16::bits(x), Half::from_f32(x).to_bits());
            assert_eq!(found, expected, "{:08x}", x.to_bits());
            let rounded = Unary::Bf16.apply(x);
            assert_eq!(rounded.to_bits(), u32::from(expected) << 16);
            if !x.is_nan() {
                // Devices hold an f32, so f64 rounds no other way.
                assert_eq!(Unary::Bf16.apply(f64::from(x)), f64::from(rounded));
            }
        }
    }
}

#[test]
fn halves_of_words_are_found() {
    let words = [0x3f80_4000, 0xffff_c000];
    let found = [0, 1, 2].map(|i| f32::from_bits(bf16::unpacked(&words, i)));
    assert_eq!(found, [2.0, 1.0, -2.0]);
    assert_eq!([0, 1, 2, 3].map(bf16::words), [0, 1, 1, 2]);
}
