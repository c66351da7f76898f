//! Memory of 32-bit words that starts at a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// 32-bit words, the first of them at the start of a cache line: vectors then never straddle two.
#[derive(Debug, Default)]
pub(super) struct Words {
    memory: Vec<u32>,
    start: usize,
    len: usize,
}

impl Words {
    /// Zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let memory = vec![0; len + LINE / 4];
        let start = memory.as_ptr().align_offset(LINE).min(LINE / 4);
        Self { memory, start, len }
    }

    /// Makes this at least so long. Content stays, what is added is zero.
    pub(super) fn grow(&mut self, len: usize) {
        if self.len < len {
            let mut larger = Self::zeros(len);
            for (new, old) in larger.iter_mut().zip(self.iter()) {
                *new = *old;
            }
            *self = larger;
        }
    }
}

impl Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        self.memory
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u32] {
        self.memory
            .get_mut(self.start..self.start + self.len)
            .unwrap_or_default()
    }
}
