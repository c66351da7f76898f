//! Philox over blocks of elements: the same words as [`gradus_graph::philox`], thirty-two
//! counters at a time.

use gradus_graph::philox::random_word;
use pulp::{Arch, NullaryFnOnce};

/// Counters computed together.
const LANES: usize = 32;

/// What every word of a block has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// The seed.
    pub(crate) seed: u64,
    /// The stream.
    pub(crate) stream: u64,
    /// The step.
    pub(crate) step: u32,
}

/// The random words of the elements `first`, `first + 1`, …
pub(crate) fn random(arch: Arch, key: Key, first: u32, out: &mut [u32]) {
    let word = |i: u32| random_word(key.seed, key.stream, key.step, first.wrapping_add(i));
    // Up to the first element that starts a group of four.
    let head = (first.wrapping_neg() % 4) as usize;
    let (before, rest) = out.split_at_mut(head.min(out.len()));
    (0..).zip(before).for_each(|(i, o)| *o = word(i));
    let mut done = head;
    let mut blocks = rest.chunks_exact_mut(4 * LANES);
    for block in &mut blocks {
        let at = first.wrapping_add(low(done as u64));
        arch.dispatch(Block {
            key,
            counter: at / 4,
            out: block,
        });
        done += 4 * LANES;
    }
    let tail = blocks.into_remainder();
    (low(done as u64)..)
        .zip(tail)
        .for_each(|(i, o)| *o = word(i));
}

struct Block<'a> {
    key: Key,
    counter: u32,
    out: &'a mut [u32],
}

impl NullaryFnOnce for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Key { seed, stream, step } = self.key;
        let mut k = [low(seed), low(seed >> 32)].map(u64::from);
        // Words in the low halves of wide lanes, where vectors multiply; the high halves are noise.
        // Elements have 32 bits, counters 30.
        let mut c0: [u64; LANES] = std::array::from_fn(|i| {
            u64::from(self.counter.wrapping_add(low(i as u64)) & (u32::MAX >> 2))
        });
        let mut c1 = [u64::from(step); LANES];
        let mut c2 = [stream; LANES];
        let mut c3 = [stream >> 32; LANES];
        for _ in 0..10 {
            for i in 0..LANES {
                let p0 = 0xD251_1F53 * u64::from(low(c0[i]));
                let p1 = 0xCD9E_8D57 * u64::from(low(c2[i]));
                c0[i] = p1 >> 32 ^ c1[i] ^ k[0];
                c1[i] = p1;
                c2[i] = p0 >> 32 ^ c3[i] ^ k[1];
                c3[i] = p0;
            }
            k = [k[0] + 0x9E37_79B9, k[1] + 0xBB67_AE85];
        }
        let (groups, _) = self.out.as_chunks_mut::<4>();
        for (i, group) in groups.iter_mut().enumerate().take(LANES) {
            *group = [c0[i], c1[i], c2[i], c3[i]].map(low);
        }
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "takes the low half")]
fn low(v: u64) -> u32 {
    v as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_agree_with_single_words() {
        let key = Key {
            seed: 0x1234_5678_9ABC_DEF0,
            stream: 0xFEDC_BA98_7654_3210,
            step: 77,
        };
        for first in [0, 1, 2, 3, 5, 1000, u32::MAX - 100] {
            let mut out = vec![0; 333];
            random(Arch::new(), key, first, &mut out);
            for (i, word) in out.iter().enumerate() {
                let element = first.wrapping_add(i as u32);
                assert_eq!(
                    *word,
                    random_word(key.seed, key.stream, key.step, element),
                    "{first} {i}"
                );
            }
        }
    }
}
