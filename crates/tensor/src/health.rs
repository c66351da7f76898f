//! Whether a device still lives, and what it failed at behind our back.
//!
//! wgpu ignores every call on a lost device without an error, so the loss must be remembered here
//! and asked for at each call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::TensorError;

#[derive(Debug, Default)]
pub(crate) struct Health {
    lost: OnceLock<String>,
    /// Set while `uncaptured` holds something, so that the usual check takes no lock.
    failed: AtomicBool,
    uncaptured: Mutex<Option<TensorError>>,
}

impl Health {
    /// A loss is reported for ever, an uncaptured error once.
    pub(crate) fn check(&self) -> Result<(), TensorError> {
        if let Some(reason) = self.lost.get() {
            return Err(TensorError::DeviceLost {
                reason: reason.clone(),
            });
        }
        if self.failed.load(Ordering::Acquire) {
            let mut uncaptured = lock(&self.uncaptured);
            self.failed.store(false, Ordering::Release);
            return uncaptured.take().map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Only the first reason is kept: what follows is its consequence.
    pub(crate) fn lose(&self, reason: String) -> TensorError {
        let reason = self.lost.get_or_init(|| reason).clone();
        TensorError::DeviceLost { reason }
    }

    pub(crate) fn uncaptured(&self, error: &wgpu::Error) {
        let label = "a call outside of every error scope".to_owned();
        let message = describe(error);
        let mut first = lock(&self.uncaptured);
        first.get_or_insert(match error {
            wgpu::Error::Validation { .. } => TensorError::Validation { label, message },
            _ => TensorError::Internal { label, message },
        });
        self.failed.store(true, Ordering::Release);
    }
}

/// The causes of a wgpu error in one line, without its own headings.
pub(crate) fn describe(error: &wgpu::Error) -> String {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string().trim().to_owned());
        next = cause.source();
    }
    match causes.is_empty() {
        true => error.to_string(),
        false => causes.join(": "),
    }
}

/// Locks even after another thread panicked: what our locks guard is valid between any two writes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
