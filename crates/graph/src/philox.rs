//! Philox 4×32-10: counter-based random numbers, the same on every device.
//!
//! Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9; // golden ratio
const W1: u32 = 0xBB67_AE85; // √3 − 1

/// Four random words for this key and counter.
pub fn philox4x32(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    let mut c = counter;
    for _ in 0..10 {
        let p0 = u64::from(M0) * u64::from(c[0]);
        let p1 = u64::from(M1) * u64::from(c[2]);
        c = [hi(p1) ^ c[1] ^ k0, lo(p1), hi(p0) ^ c[3] ^ k1, lo(p0)];
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    c
}

/// The random word of one tensor element: `counter = (element / 4, step, stream)`,
/// word `element % 4`. `seed` is the key.
pub fn random_word(seed: u64, stream: u64, step: u32, element: u32) -> u32 {
    let words = philox4x32(
        [lo(seed), hi(seed)],
        [element / 4, step, lo(stream), hi(stream)],
    );
    words[(element % 4) as usize]
}

/// The stream of a name and an ordinal within it: FNV-1a over both.
pub fn stream(name: &str, ordinal: u32) -> u64 {
    let bytes = name.bytes().chain(ordinal.to_le_bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// A sequence of random numbers on the host: initial values, shuffles, splits.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    stream: u64,
    next: u32,
    epoch: u32,
}

impl Rng {
    /// The sequence of this seed and stream (see [`stream`]).
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            seed,
            stream,
            next: 0,
            epoch: 0,
        }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let word = random_word(self.seed, self.stream, self.epoch, self.next);
        self.next = self.next.wrapping_add(1);
        if self.next == 0 {
            self.epoch = self.epoch.wrapping_add(1);
        }
        word
    }

    /// A uniform number in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let bits = (u64::from(self.next_u32()) << 21) | (u64::from(self.next_u32()) >> 11);
        bits as f64 * (-53f64).exp2()
    }

    /// A standard normal number, by the Box–Muller transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A uniform integer in `0..n` without bias; 0 if `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        let Some(zone) = (u64::from(u32::MAX) + 1).checked_rem(u64::from(n)) else {
            return 0;
        };
        let limit = (u64::from(u32::MAX) + 1) - zone;
        loop {
            let word = self.next_u32();
            if u64::from(word) < limit {
                return word % n;
            }
        }
    }

    /// A Fisher–Yates shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(u32::try_from(i + 1).unwrap_or(u32::MAX));
            items.swap(i, j as usize);
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "takes the low half")]
fn lo(v: u64) -> u32 {
    v as u32
}

fn hi(v: u64) -> u32 {
    lo(v >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with the reference implementation (Random123, kat_vectors).
    #[test]
    fn known_answers() {
        assert_eq!(
            philox4x32([0, 0], [0; 4]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0xa409_3822, 0x299f_31d0],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..100).collect();
        Rng::new(7, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
