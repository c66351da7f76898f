//! The order in which samples are visited, cut into batches.

use gradus_graph::philox::{Rng, stream};

use crate::DataError;

/// A permutation of sample indices: the order of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    indices: Vec<u32>,
}

impl Order {
    /// `0, 1, …, n - 1`.
    ///
    /// # Errors
    /// If `n` exceeds what 32-bit indices reach.
    pub fn sequential(n: usize) -> Result<Self, DataError> {
        let end = u32::try_from(n).map_err(|_| DataError::TooManySamples { found: n })?;
        Ok(Self::of(end))
    }

    /// A random permutation of `0..n`: the same for the same `n`, `seed` and `epoch` on every
    /// machine (Fisher–Yates over Philox).
    ///
    /// # Errors
    /// If `n` exceeds what 32-bit indices reach.
    pub fn shuffled(n: usize, seed: u64, epoch: u32) -> Result<Self, DataError> {
        let mut order = Self::sequential(n)?;
        order.reshuffle(seed, epoch);
        Ok(order)
    }

    /// Becomes [`Order::shuffled`] of the same length, without allocating.
    pub fn reshuffle(&mut self, seed: u64, epoch: u32) {
        // Starts from the identity, so that an epoch does not depend on those before it.
        for (slot, index) in self.indices.iter_mut().zip(0..) {
            *slot = index;
        }
        Rng::new(seed, stream("data.shuffle", epoch)).shuffle(&mut self.indices);
    }

    /// The indices, in order.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Consecutive runs of `size` indices; the last may be shorter.
    ///
    /// # Errors
    /// If `size` is 0.
    pub fn batches(&self, size: usize) -> Result<Batches<'_>, DataError> {
        if size == 0 {
            return Err(DataError::BatchSize);
        }
        Ok(Batches {
            chunks: self.indices.chunks(size),
        })
    }

    /// The same without a last batch that is shorter: what is left over is not visited. PyTorch's
    /// `drop_last`.
    ///
    /// # Errors
    /// If `size` is 0.
    pub fn full_batches(&self, size: usize) -> Result<Batches<'_>, DataError> {
        let Some(rest) = self.indices.len().checked_rem(size) else {
            return Err(DataError::BatchSize);
        };
        let full = self.indices.len() - rest;
        Ok(Batches {
            chunks: self.indices[..full].chunks(size),
        })
    }

    pub(crate) fn of(n: u32) -> Self {
        Self {
            indices: (0..n).collect(),
        }
    }
}

/// The batches of an epoch, as slices of sample indices. See [`Order::batches`].
///
/// `len()` is the number of batches left, and `nth` skips in constant time, as a resumed epoch
/// needs.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    chunks: std::slice::Chunks<'a, u32>,
}

impl<'a> Iterator for Batches<'a> {
    type Item = &'a [u32];

    fn next(&mut self) -> Option<Self::Item> {
        self.chunks.next()
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.chunks.nth(n)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl ExactSizeIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_once_and_a_short_last_batch() {
        let order = Order::shuffled(10, 7, 0).unwrap();
        let sizes: Vec<usize> = order.batches(4).unwrap().map(<[u32]>::len).collect();
        assert_eq!(sizes, [4, 4, 2]);
        assert_eq!(order.batches(4).unwrap().len(), 3);
        let full = order.full_batches(4).unwrap();
        let batches = order.batches(4).unwrap().take(2);
        assert_eq!(full.collect::<Vec<_>>(), batches.collect::<Vec<_>>());
        assert_eq!(order.full_batches(5).unwrap().len(), 2);
        assert_eq!(order.full_batches(11).unwrap().len(), 0);
        assert!(order.full_batches(0).is_err());
        let mut all = order.indices().to_vec();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u32>>());
    }

    /// Stored values: a change would break the promise of equal runs across versions.
    #[test]
    fn order_depends_on_seed_and_epoch_only() {
        let order = Order::shuffled(8, 7, 0).unwrap();
        assert_eq!(order.indices(), STORED);
        assert_ne!(order, Order::shuffled(8, 7, 1).unwrap());
        assert_ne!(order, Order::shuffled(8, 8, 0).unwrap());

        let mut again = Order::shuffled(8, 1, 9).unwrap();
        again.reshuffle(7, 0);
        assert_eq!(again, order);
    }

    const STORED: [u32; 8] = [6, 1, 0, 2, 5, 3, 7, 4];

    #[test]
    fn batch_size_zero_is_refused() {
        let order = Order::sequential(3).unwrap();
        assert!(matches!(order.batches(0), Err(DataError::BatchSize)));
    }
}
