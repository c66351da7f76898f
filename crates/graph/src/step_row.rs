//! The step row: 64 words of uniform data that the host writes for every step.

/// Words in a row.
pub const WORDS: usize = 64;

/// The number of the step, from 0; `u32`. Counter of random numbers.
pub const STEP: u32 = 0;
/// Low half of the seed; `u32`.
pub const SEED_LOW: u32 = 1;
/// High half of the seed; `u32`.
pub const SEED_HIGH: u32 = 2;
/// First element of this step's row in the ring of read-backs; `u32`.
pub const RING: u32 = 3;
/// First position of this step's batch in the order of a resident data set; `u32`.
pub const BATCH: u32 = 4;
/// First word that belongs to the optimizer; the words before are reserved.
pub const OPTIMIZER: u32 = 8;
