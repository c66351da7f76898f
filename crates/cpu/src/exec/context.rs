//! What a step gives to its kernels.

use std::sync::atomic::AtomicU32;

use gradus_graph::backend::StepRow;
use pulp::Arch;

/// What a step of training gives to its kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// The vectors of this processor.
    pub(super) arch: Arch,
    /// Uniform data.
    pub(super) row: &'a StepRow,
    /// One word for each index check.
    pub(super) errors: &'a [AtomicU32],
    /// True if the step is large enough for several threads.
    pub(super) threads: bool,
}

impl Context<'_> {
    /// A word of the step row.
    pub(super) fn word(&self, word: usize) -> u32 {
        self.row.get(word).copied().unwrap_or(0)
    }
}
