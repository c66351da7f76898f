//! Memory on a device.

use std::fmt;
use std::sync::Arc;

use crate::bind::BufferRange;
use crate::commands::Commands;
use crate::health::lock;
use crate::memory::Reservation;
use crate::{Device, TensorError};

/// Sizes are rounded up to this, so that kernels may load four words at a time to the very end.
const PADDING: u64 = 16;

/// wgpu copies and uploads by whole words.
pub(crate) const WORD: u64 = 4;

/// A buffer on a device: cheap to clone, freed with its last clone.
///
/// Its contents are zero until they are written.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Inner>,
}

struct Inner {
    device: Device,
    label: String,
    bytes: u64,
    wgpu: wgpu::Buffer,
    // Absent for an application's buffer, which is not ours to account for.
    _reservation: Option<Reservation>,
}

impl Buffer {
    /// A buffer for kernels that can also be copied, written and read; `bytes` is rounded up to a
    /// multiple of 16.
    ///
    /// # Errors
    ///
    /// [`TensorError::LimitExceeded`] above the device's largest buffer,
    /// [`TensorError::OutOfMemory`] above the device's budget or memory.
    pub fn storage(device: &Device, label: &str, bytes: u64) -> Result<Self, TensorError> {
        use wgpu::BufferUsages as Usage;
        Self::new(
            device,
            label,
            bytes,
            Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
        )
    }

    /// A [`Buffer::storage`] whose zeros are written now. Without this the driver writes them at
    /// the first use, which makes the first step slower than the others.
    pub fn zeroed(device: &Device, label: &str, bytes: u64) -> Result<Self, TensorError> {
        let buffer = Self::storage(device, label, bytes)?;
        let mut commands = Commands::new(device, label)?;
        commands.clear(&buffer);
        commands.submit()?;
        Ok(buffer)
    }

    /// A [`Buffer::storage`] with the given contents.
    pub fn from_bytes(device: &Device, label: &str, bytes: &[u8]) -> Result<Self, TensorError> {
        let buffer = Self::storage(device, label, bytes.len() as u64)?;
        buffer.write(0, bytes)?;
        Ok(buffer)
    }

    /// A buffer for any other use.
    pub fn new(
        device: &Device,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Self, TensorError> {
        let (wgpu, reservation) = create(device, label, bytes, usage)?;
        let inner = Inner {
            device: device.clone(),
            label: label.to_owned(),
            bytes,
            wgpu,
            _reservation: Some(reservation),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Shares an application's buffer, which must belong to `device`. Its own usages say what can
    /// be done with it.
    pub fn from_wgpu(device: &Device, label: &str, buffer: wgpu::Buffer) -> Self {
        let inner = Inner {
            device: device.clone(),
            label: label.to_owned(),
            bytes: buffer.size(),
            wgpu: buffer,
            _reservation: None,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What errors call it.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// The device it lies on.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The bytes asked for.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// The bytes it has: those asked for, rounded up to a multiple of 16.
    pub fn padded_bytes(&self) -> u64 {
        self.inner.wgpu.size()
    }

    /// The wgpu buffer, for applications that share it.
    pub fn wgpu_buffer(&self) -> &wgpu::Buffer {
        &self.inner.wgpu
    }

    /// All of it, as a binding or the source of a copy.
    pub fn whole(&self) -> BufferRange {
        BufferRange {
            buffer: self.clone(),
            offset: 0,
            bytes: self.padded_bytes(),
        }
    }

    /// A part of it, as a binding or the source of a copy.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfRange`] if it does not lie within the buffer.
    pub fn range(&self, offset: u64, bytes: u64) -> Result<BufferRange, TensorError> {
        self.contains(offset, bytes, self.padded_bytes())?;
        Ok(BufferRange {
            buffer: self.clone(),
            offset,
            bytes,
        })
    }

    /// Writes `data` at a byte offset, ahead of all commands submitted later.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfRange`], or [`TensorError::Unaligned`] unless offset and length are
    /// multiples of 4; the length may be any at the very end of the buffer.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), TensorError> {
        let bytes = data.len() as u64;
        self.contains(offset, bytes, self.bytes())?;
        let at_the_end = offset + bytes == self.bytes();
        if !offset.is_multiple_of(WORD) || (!bytes.is_multiple_of(WORD) && !at_the_end) {
            return Err(self.unaligned(offset, bytes, WORD));
        }
        let padded;
        let data = match bytes % WORD {
            0 => data,
            rest => {
                padded = [data, &[0; 3][..(WORD - rest) as usize]].concat();
                &padded
            }
        };
        self.device().inner().counts.uploads.add(1);
        self.device().guarded(self.label(), bytes, |_, queue| {
            queue.write_buffer(&self.inner.wgpu, offset, data);
        })
    }

    /// Writes several slices one after another, as one upload, without joining them on the host
    /// first. As [`Buffer::write`], but all lengths must be multiples of 4.
    pub(crate) fn write_parts(&self, offset: u64, parts: &[&[u8]]) -> Result<(), TensorError> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.contains(offset, bytes, self.bytes())?;
        if parts.iter().any(|part| part.len() % 4 != 0) || !offset.is_multiple_of(WORD) {
            return Err(self.unaligned(offset, bytes, WORD));
        }
        let Some(size) = wgpu::BufferSize::new(bytes) else {
            return Ok(());
        };
        self.device().inner().counts.uploads.add(1);
        self.device().guarded(self.label(), bytes, |_, queue| {
            // It is `None` exactly where the error scope catches why.
            if let Some(mut view) = queue.write_buffer_with(&self.inner.wgpu, offset, size) {
                let mut rest = view.slice(..);
                for part in parts {
                    let (mut start, end) = rest.split_at(part.len());
                    start.copy_from_slice(part);
                    rest = end;
                }
            }
        })
    }

    pub(crate) fn contains(&self, offset: u64, bytes: u64, size: u64) -> Result<(), TensorError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= size => Ok(()),
            _ => {
                let label = self.label().to_owned();
                Err(TensorError::OutOfRange {
                    label,
                    offset,
                    bytes,
                    size,
                })
            }
        }
    }

    pub(crate) fn unaligned(&self, offset: u64, bytes: u64, alignment: u64) -> TensorError {
        TensorError::Unaligned {
            label: self.label().to_owned(),
            offset,
            bytes,
            alignment,
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (label, bytes) = (self.label(), self.bytes());
        f.debug_struct("Buffer")
            .field("label", &label)
            .field("bytes", &bytes)
            .finish()
    }
}

/// Makes a wgpu buffer within the limits and the budget of the device.
pub(crate) fn create(
    device: &Device,
    label: &str,
    bytes: u64,
    usage: wgpu::BufferUsages,
) -> Result<(wgpu::Buffer, Reservation), TensorError> {
    device.check()?;
    let allowed = device.limits().max_buffer_size;
    let size = bytes
        .max(1)
        .checked_next_multiple_of(PADDING)
        .filter(|&size| size <= allowed);
    let Some(size) = size else {
        let (label, limit) = (label.to_owned(), "bytes in one buffer");
        return Err(TensorError::LimitExceeded {
            label,
            limit,
            needed: bytes,
            allowed,
        });
    };
    let memory = &device.inner().memory;
    let reservation = memory.reserve(label, size).or_else(|_| {
        // Idle staging buffers are the one thing we can give back ourselves.
        lock(&device.inner().staging).clear();
        memory.reserve(label, size)
    })?;
    let descriptor = wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    };
    let buffer = device.guarded(label, size, |wgpu, _| wgpu.create_buffer(&descriptor))?;
    device.inner().counts.buffers.add(1);
    Ok((buffer, reservation))
}
