//! Recording work and handing it to the device.
//!
//! wgpu cannot replay a command buffer, so a step is recorded anew each time. What can be prepared
//! is prepared in [`Dispatch`]: recording is one loop over a flat list that decides nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::bind::{BindGroup, BufferRange, Dispatch};
use crate::buffer::{Buffer, WORD};
use crate::counters::Counts;
use crate::read::Staging;
use crate::{Device, TensorError};

/// Work being recorded: passes and copies, in order.
#[derive(Debug)]
pub struct Commands {
    device: Device,
    label: Arc<str>,
    encoder: wgpu::CommandEncoder,
}

impl Commands {
    /// An empty recording.
    pub fn new(device: &Device, label: &str) -> Result<Self, TensorError> {
        device.check()?;
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some(label) };
        let encoder = device.wgpu_device().create_command_encoder(&descriptor);
        Ok(Self {
            device: device.clone(),
            label: label.into(),
            encoder,
        })
    }

    /// Begins a compute pass; it ends when the value is dropped.
    pub fn pass(&mut self, label: &str) -> Pass<'_> {
        self.pass_with(label, None)
    }

    /// The same as [`Commands::pass`], with the device's clock read when it begins and ends.
    pub(crate) fn pass_with(
        &mut self,
        label: &str,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) -> Pass<'_> {
        let counts = &self.device.inner().counts;
        counts.passes.add(1);
        let pass = self
            .encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(label),
                timestamp_writes,
            });
        Pass {
            pass,
            counts,
            dispatches: 0,
            pipeline: None,
        }
    }

    /// Copies on the device; offsets and length are multiples of 4.
    pub fn copy(&mut self, from: &BufferRange, to: &Buffer, at: u64) -> Result<(), TensorError> {
        to.contains(at, from.bytes, to.padded_bytes())?;
        self.record_copy(from, to.wgpu_buffer(), at)
    }

    /// Copies to memory that the host can read after the submission; multiples of 4.
    pub fn copy_to_staging(
        &mut self,
        from: &BufferRange,
        to: &Staging,
        at: u64,
    ) -> Result<(), TensorError> {
        to.contains(at, from.bytes)?;
        self.record_copy(from, to.wgpu_buffer(), at)
    }

    fn record_copy(
        &mut self,
        from: &BufferRange,
        to: &wgpu::Buffer,
        at: u64,
    ) -> Result<(), TensorError> {
        if !(from.offset | from.bytes | at).is_multiple_of(WORD) {
            return Err(from.buffer.unaligned(from.offset | at, from.bytes, WORD));
        }
        self.device.inner().counts.copies.add(1);
        let source = from.buffer.wgpu_buffer();
        self.encoder
            .copy_buffer_to_buffer(source, from.offset, to, at, Some(from.bytes));
        Ok(())
    }

    /// Fills a buffer with zeros.
    pub fn clear(&mut self, buffer: &Buffer) {
        self.device.inner().counts.copies.add(1);
        self.encoder.clear_buffer(buffer.wgpu_buffer(), 0, None);
    }

    /// The wgpu encoder, for what has no wrapper here (query sets, an application's own passes).
    pub fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        &mut self.encoder
    }

    /// Has wgpu check everything recorded, and drops it.
    pub(crate) fn discard(self) -> Result<(), TensorError> {
        let Self {
            device,
            label,
            encoder,
        } = self;
        device.guarded(&label, 0, |_, _| drop(encoder.finish()))
    }

    /// Hands everything recorded to the device, in one submit, and returns at once.
    ///
    /// # Errors
    ///
    /// [`TensorError::Validation`] if wgpu refuses anything that was recorded.
    pub fn submit(self) -> Result<Submission, TensorError> {
        let Self {
            device,
            label,
            encoder,
        } = self;
        device.inner().counts.submits.add(1);
        let index = device.guarded(&label, 0, |_, queue| queue.submit([encoder.finish()]))?;
        device.notice_loss()?;
        Ok(Submission {
            device,
            label,
            index,
        })
    }
}

/// A compute pass being recorded.
#[derive(Debug)]
pub struct Pass<'a> {
    pass: wgpu::ComputePass<'a>,
    counts: &'a Counts,
    dispatches: u64,
    /// The address of the pipeline that is set.
    pipeline: Option<usize>,
}

impl Pass<'_> {
    /// Sets the step row for the dispatches that follow, whatever their pipelines.
    pub fn set_step_row(&mut self, row: &BindGroup) {
        self.pass.set_bind_group(1, row.wgpu_bind_group(), &[]);
    }

    /// Reads the device's clock when all dispatches before are done.
    pub(crate) fn write_timestamp(&mut self, queries: &wgpu::QuerySet, query: u32) {
        self.pass.write_timestamp(queries, query);
    }

    /// Records one dispatch.
    pub fn dispatch(&mut self, dispatch: &Dispatch) {
        let pipeline = dispatch.pipeline().address();
        if self.pipeline != Some(pipeline) {
            self.pass.set_pipeline(dispatch.pipeline().wgpu_pipeline());
            self.pipeline = Some(pipeline);
        }
        self.pass
            .set_bind_group(0, dispatch.bindings().wgpu_bind_group(), &[]);
        let [x, y, z] = dispatch.grid();
        self.pass.dispatch_workgroups(x, y, z);
        self.dispatches += 1;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.counts.dispatches.add(self.dispatches);
    }
}

/// Work that was handed to the device.
#[derive(Clone, Debug)]
pub struct Submission {
    device: Device,
    label: Arc<str>,
    index: wgpu::SubmissionIndex,
}

impl Submission {
    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Blocks until it is done.
    ///
    /// # Errors
    ///
    /// [`TensorError::Timeout`] after the device's time-out, [`TensorError::DeviceLost`].
    pub fn wait(&self) -> Result<(), TensorError> {
        self.device.inner().counts.waits.add(1);
        self.device
            .wait_for(&self.label, self.index.clone(), self.device.timeout())
    }

    /// The same as [`Submission::wait`], counted as the wait that keeps the host from running
    /// ahead.
    pub fn wait_for_back_pressure(&self) -> Result<(), TensorError> {
        self.device.inner().counts.back_pressure_waits.add(1);
        self.device
            .wait_for(&self.label, self.index.clone(), self.device.timeout())
    }

    /// Whether it is done, without waiting.
    pub fn is_done(&self) -> Result<bool, TensorError> {
        match self
            .device
            .wait_for(&self.label, self.index.clone(), Duration::ZERO)
        {
            Ok(()) => Ok(true),
            Err(TensorError::Timeout { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
