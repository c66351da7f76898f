//! Every call to wgpu that can fail, and every wait, goes through here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::health::describe;
use crate::{Device, TensorError};

impl Device {
    /// Runs a wgpu call so that whatever it reports becomes an error that names `label`.
    ///
    /// Scopes belong to the thread, so threads may do this at the same time.
    pub(crate) fn guarded<T>(
        &self,
        label: &str,
        bytes: u64,
        call: impl FnOnce(&wgpu::Device, &wgpu::Queue) -> T,
    ) -> Result<T, TensorError> {
        self.check()?;
        let device = self.wgpu_device();
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = call(device, self.queue());
        // All three are popped, innermost first, whatever the first one says.
        let validation = pollster::block_on(validation.pop());
        let memory = pollster::block_on(memory.pop());
        let internal = pollster::block_on(internal.pop());
        match memory.or(validation).or(internal) {
            Some(error) => Err(self.error(label, bytes, &error)),
            None => self.check().map(|()| value),
        }
    }

    fn error(&self, label: &str, bytes: u64, error: &wgpu::Error) -> TensorError {
        let (label, message) = (label.to_owned(), describe(error));
        match error {
            wgpu::Error::OutOfMemory { .. } => self.inner().memory.out_of_memory(&label, bytes),
            wgpu::Error::Validation { .. } => TensorError::Validation { label, message },
            wgpu::Error::Internal { .. } => TensorError::Internal { label, message },
        }
    }

    /// Remembers a loss that showed itself in another way than by the callback.
    pub(crate) fn lose(&self, reason: &str) -> TensorError {
        self.inner().health.lose(reason.to_owned())
    }

    /// wgpu ignores a submit to a lost device, and tells of the loss only when it is polled.
    pub(crate) fn notice_loss(&self) -> Result<(), TensorError> {
        self.poll("submit", wgpu::PollType::Poll)
    }

    /// Blocks until a submission is done and its callbacks have run.
    pub(crate) fn wait_for(
        &self,
        label: &str,
        submission: wgpu::SubmissionIndex,
        timeout: Duration,
    ) -> Result<(), TensorError> {
        let submission_index = Some(submission);
        self.poll(
            label,
            wgpu::PollType::Wait {
                submission_index,
                timeout: Some(timeout),
            },
        )
    }

    fn poll(&self, label: &str, how: wgpu::PollType) -> Result<(), TensorError> {
        self.check()?;
        let after = match &how {
            wgpu::PollType::Wait { timeout, .. } => timeout.unwrap_or_default(),
            wgpu::PollType::Poll => Duration::ZERO,
        };
        // wgpu 30 panics in `poll` when the driver loses the device during the wait.
        let polled = catch_unwind(AssertUnwindSafe(|| self.wgpu_device().poll(how)));
        self.check()?;
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => Err(TensorError::Timeout {
                label: label.to_owned(),
                after,
            }),
            Ok(Err(wgpu::PollError::WrongSubmissionIndex(..))) => {
                Err(self.lose("the queue took no work"))
            }
            Err(_) => Err(self.lose("the driver failed while work was waited for")),
        }
    }
}
