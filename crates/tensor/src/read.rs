//! Reading from a device.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::buffer::{self, Buffer, WORD};
use crate::commands::{Commands, Submission};
use crate::health::lock;
use crate::memory::Reservation;
use crate::{Device, TensorError};

/// Larger reads go piece by piece, so that reading a slab does not double its memory.
const PIECE: u64 = 64 << 20;

/// Idle staging buffers that a device keeps for the next read.
const KEPT: usize = 4;

/// How to wait for a submission.
pub(crate) type Wait = fn(&Submission) -> Result<(), TensorError>;

/// Memory that a device copies into and the host reads.
///
/// It is read through `&mut self`, because memory cannot be mapped twice at once.
#[derive(Debug)]
pub struct Staging {
    label: String,
    wgpu: wgpu::Buffer,
    _reservation: Reservation,
}

impl Staging {
    /// Room for `bytes`, rounded up to a multiple of 16.
    pub fn new(device: &Device, label: &str, bytes: u64) -> Result<Self, TensorError> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::MAP_READ | Usage::COPY_DST;
        let (wgpu, reservation) = buffer::create(device, label, bytes, usage)?;
        Ok(Self {
            label: label.to_owned(),
            wgpu,
            _reservation: reservation,
        })
    }

    /// The bytes it has.
    pub fn bytes(&self) -> u64 {
        self.wgpu.size()
    }

    pub(crate) fn contains(&self, offset: u64, bytes: u64) -> Result<(), TensorError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes() => Ok(()),
            _ => {
                let (label, size) = (self.label.clone(), self.bytes());
                Err(TensorError::OutOfRange {
                    label,
                    offset,
                    bytes,
                    size,
                })
            }
        }
    }

    pub(crate) fn wgpu_buffer(&self) -> &wgpu::Buffer {
        &self.wgpu
    }

    /// Waits for the submission that copied into this, and returns the first `bytes`.
    pub fn read(&mut self, after: &Submission, bytes: u64) -> Result<Vec<u8>, TensorError> {
        self.read_when(after, bytes, Submission::wait)
    }

    /// The same as [`Staging::read`], with the way to wait: [`Submission::wait`] or
    /// [`Submission::wait_for_back_pressure`].
    pub(crate) fn read_when(
        &mut self,
        after: &Submission,
        bytes: u64,
        wait: Wait,
    ) -> Result<Vec<u8>, TensorError> {
        let mut contents = Vec::with_capacity(bytes as usize);
        pollster::block_on(self.append_when(&mut contents, after, bytes, wait))?;
        Ok(contents)
    }

    /// The same as [`Staging::read`], without blocking in a browser.
    pub async fn append_to(
        &mut self,
        contents: &mut Vec<u8>,
        after: &Submission,
        bytes: u64,
    ) -> Result<(), TensorError> {
        self.append_when(contents, after, bytes, Submission::wait)
            .await
    }

    async fn append_when(
        &mut self,
        contents: &mut Vec<u8>,
        after: &Submission,
        bytes: u64,
        wait: Wait,
    ) -> Result<(), TensorError> {
        self.contains(0, bytes)?;
        if bytes == 0 {
            return wait(after);
        }
        let device = after.device();
        // wgpu maps whole words.
        let slice = self.wgpu.slice(..bytes.next_multiple_of(WORD));
        let (sender, mapped) = signal();
        let refused = device.guarded(&self.label, bytes, |_, _| {
            slice.map_async(wgpu::MapMode::Read, move |result| sender.send(result));
        });
        refused.map_err(|error| match error {
            // Nobody else maps this memory. wgpu calls it invalid if it ignored its creation.
            TensorError::Validation { message, .. } => device.lose(&message),
            other => other,
        })?;
        let unmap = Unmap(&self.wgpu);
        wait(after)?;
        if mapped.await.is_err() {
            device.check()?;
            return Err(device.lose("its memory could not be read"));
        }
        match slice.get_mapped_range() {
            Ok(view) => contents.extend_from_slice(view.get(..bytes as usize).unwrap_or(&view)),
            Err(error) => {
                let (label, message) = (self.label.clone(), error.to_string());
                return Err(TensorError::Internal { label, message });
            }
        }
        drop(unmap);
        Ok(())
    }
}

/// Unmaps on every way out, a time-out included: it cancels a mapping that is still pending.
struct Unmap<'a>(&'a wgpu::Buffer);

impl Drop for Unmap<'_> {
    fn drop(&mut self) {
        self.0.unmap();
    }
}

impl Buffer {
    /// Waits for all work submitted before, and returns the contents.
    pub fn read(&self) -> Result<Vec<u8>, TensorError> {
        self.read_range(0, self.bytes())
    }

    /// Waits for all work submitted before, and returns `bytes` from a byte offset on; both may be
    /// odd.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfRange`], [`TensorError::Timeout`], [`TensorError::DeviceLost`].
    pub fn read_range(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, TensorError> {
        pollster::block_on(self.read_range_async(offset, bytes))
    }

    /// The same as [`Buffer::read_range`], without blocking in a browser.
    pub async fn read_range_async(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, TensorError> {
        self.device().check()?;
        self.contains(offset, bytes, self.bytes())?;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let start = offset - offset % WORD;
        let end = (offset + bytes).next_multiple_of(WORD);
        let mut contents = Vec::with_capacity((end - start) as usize);
        for piece in (start..end).step_by(PIECE as usize) {
            let length = PIECE.min(end - piece);
            let mut staging = take(self.device(), length)?;
            let mut commands = Commands::new(self.device(), self.label())?;
            commands.copy_to_staging(&self.range(piece, length)?, &staging, 0)?;
            let submission = commands.submit()?;
            staging
                .append_to(&mut contents, &submission, length)
                .await?;
            give_back(self.device(), staging);
        }
        contents.drain(..(offset - start) as usize);
        contents.truncate(bytes as usize);
        Ok(contents)
    }
}

/// The smallest idle staging buffer that is large enough, or a new one.
fn take(device: &Device, bytes: u64) -> Result<Staging, TensorError> {
    let mut idle = lock(&device.inner().staging);
    let fitting = idle
        .iter()
        .enumerate()
        .filter(|(_, staging)| staging.bytes() >= bytes);
    let best = fitting
        .min_by_key(|(_, staging)| staging.bytes())
        .map(|(at, _)| at);
    if let Some(at) = best {
        return Ok(idle.swap_remove(at));
    }
    drop(idle);
    Staging::new(device, "read", bytes.next_power_of_two())
}

/// When the shelf is full, the smallest goes: large ones are dear to make.
fn give_back(device: &Device, staging: Staging) {
    let mut idle = lock(&device.inner().staging);
    idle.push(staging);
    idle.sort_by_key(|staging| std::cmp::Reverse(staging.bytes()));
    idle.truncate(KEPT);
}

/// A value that a callback sends, once, to a future.
fn signal<T>() -> (Sender<T>, Signal<T>) {
    let shared = Arc::new(Mutex::new(Slot {
        value: None,
        waker: None,
    }));
    (Sender(Arc::clone(&shared)), Signal(shared))
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

struct Sender<T>(Arc<Mutex<Slot<T>>>);

impl<T> Sender<T> {
    fn send(self, value: T) {
        let mut slot = lock(&self.0);
        slot.value = Some(value);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

struct Signal<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Signal<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = lock(&self.0);
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
