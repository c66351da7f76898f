//! A hash of a model.

use std::fmt;

use crate::{Error, Model};

/// A hash of everything a model keeps between steps: equal bits, equal digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Model {
    /// A hash of parameters, states and the optimizer's vectors: the same on every run with the
    /// same seed, device and driver, whatever the number of threads.
    ///
    /// # Errors
    /// If the device fails.
    pub fn digest(&mut self) -> Result<Digest, Error> {
        self.settle()?;
        let mut hash = 0xCBF2_9CE4_8422_2325u64; // FNV-1a
        for kept in &self.kept {
            let words = kept.read(&mut self.engine)?.to_words();
            let bytes = kept
                .name
                .bytes()
                .chain(words.into_iter().flat_map(u32::to_le_bytes));
            hash = bytes.fold(hash, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
            });
        }
        Ok(Digest(hash))
    }
}
