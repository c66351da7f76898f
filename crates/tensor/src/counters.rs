//! What was asked of a device, counted: the figures that a steady step is held to.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Declares the counters once, as atomics on the device and as the snapshot people read.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often something was done on a device since it was made; subtract two snapshots to
        /// see what happened between them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Sub for Counters {
            type Output = Self;

            fn sub(self, earlier: Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $(pub(crate) $name: Count,)*
        }

        impl Counts {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Submits to the queue.
    submits,
    /// Compute passes.
    passes,
    /// Dispatches within passes.
    dispatches,
    /// Writes from the host to a buffer.
    uploads,
    /// Copies and clears recorded on the device.
    copies,
    /// Waits for results.
    waits,
    /// Waits for an older step, so that the host does not run ahead without end.
    back_pressure_waits,
    /// Buffers created, staging buffers included.
    buffers,
    /// Bind groups created.
    bind_groups,
    /// Compute pipelines created; kernels with the same code share one.
    pipelines,
}

/// One counter. The order of counts between threads carries no meaning, so relaxed is enough.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
