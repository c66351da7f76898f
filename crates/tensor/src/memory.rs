//! How much memory a device's buffers may take, and take.
//!
//! Drivers of software devices promise memory that the machine does not have, and the process is
//! killed when it is touched. A budget of our own turns that into an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::TensorError;

/// The budget that stands for "none".
const UNLIMITED: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Memory {
    allocated: AtomicU64,
    budget: AtomicU64,
}

impl Memory {
    pub(crate) fn new(budget: Option<u64>) -> Arc<Self> {
        let budget = AtomicU64::new(budget.unwrap_or(UNLIMITED));
        Arc::new(Self {
            allocated: AtomicU64::new(0),
            budget,
        })
    }

    pub(crate) fn set_budget(&self, bytes: Option<u64>) {
        self.budget.store(bytes.unwrap_or(UNLIMITED), Relaxed);
    }

    pub(crate) fn budget(&self) -> Option<u64> {
        Some(self.budget.load(Relaxed)).filter(|&bytes| bytes != UNLIMITED)
    }

    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Relaxed)
    }

    /// Takes `bytes` out of the budget until the reservation is dropped.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        label: &str,
        bytes: u64,
    ) -> Result<Reservation, TensorError> {
        let budget = self.budget.load(Relaxed);
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= budget);
        match self.allocated.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(Reservation {
                memory: Arc::clone(self),
                bytes,
            }),
            Err(_) => Err(self.out_of_memory(label, bytes)),
        }
    }

    pub(crate) fn out_of_memory(&self, label: &str, bytes: u64) -> TensorError {
        let (allocated, budget) = (self.allocated(), self.budget());
        TensorError::OutOfMemory {
            label: label.to_owned(),
            bytes,
            allocated,
            budget,
        }
    }
}

/// Bytes that count as allocated while this lives.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.allocated.fetch_sub(self.bytes, Relaxed);
    }
}

/// Half of the memory of this machine, where the system tells it: what a software device may take.
pub(crate) fn half_of_physical() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024 / 2)
}
