//! Tensors on a device, and expressions of them computed at once.

mod eager;
mod ops;

use std::fmt;
use std::panic::Location;

use gradus_graph::ops::Meta;
use gradus_graph::{Array, DType, IntoShape, Scalar, Shape};

pub(crate) use eager::Cache;

use crate::buffer::WORD;
use crate::{Buffer, Device, TensorError};

/// An array in the memory of a device: row-major, with shape and dtype, never changed once made.
/// Cheap to clone.
///
/// Operations return as soon as their work is handed to the device; only
/// [`Tensor::to_array`] waits, and operations with indices that must be checked. Each is a small
/// graph that is planned and compiled like a model's step; one with the same ops and shapes is
/// compiled once for a device. Intermediate results of one [`Tensor::compute`] are fused.
///
/// ```no_run
/// use gradus_graph::Array;
/// use gradus_tensor::{Device, Tensor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::best()?;
/// let x = Tensor::from_array(&device, &Array::new([2, 3], vec![1f32; 6])?)?;
/// let w = Tensor::from_array(&device, &Array::new([3, 4], vec![0.5f32; 12])?)?;
/// let y = x.matmul(&w)?.relu()?;
/// println!("{:?}", y.to_array()?.as_f32()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tensor {
    meta: Meta,
    buffer: Buffer,
    /// Bytes before the first element: a multiple of 256.
    offset: u64,
}

impl Tensor {
    /// Copies an array to a device.
    ///
    /// # Errors
    ///
    /// Those of [`Buffer::from_bytes`].
    pub fn from_array(device: &Device, array: &Array) -> Result<Self, TensorError> {
        let words = array.to_words();
        Ok(Self {
            meta: Meta::new(*array.shape(), array.dtype()),
            buffer: Buffer::from_bytes(device, "tensor", bytemuck::cast_slice(&words))?,
            offset: 0,
        })
    }

    /// A tensor of zeros, or of false.
    ///
    /// # Errors
    ///
    /// Those of [`Buffer::zeroed`], [`TensorError::Expression`] for more than 8 axes.
    #[track_caller]
    pub fn zeros(
        device: &Device,
        shape: impl IntoShape,
        dtype: DType,
    ) -> Result<Self, TensorError> {
        let meta = meta(&shape, dtype, Location::caller())?;
        Ok(Self {
            meta,
            buffer: Buffer::zeroed(device, "tensor", meta.bytes() as u64)?,
            offset: 0,
        })
    }

    /// The elements at the start of a buffer, such as an application's
    /// ([`Buffer::from_wgpu`]); what is written to the buffer later is seen.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfRange`] if the buffer has fewer bytes, rounded up to a multiple of 16;
    /// [`TensorError::Expression`] for more than 8 axes.
    #[track_caller]
    pub fn from_buffer(
        buffer: Buffer,
        shape: impl IntoShape,
        dtype: DType,
    ) -> Result<Self, TensorError> {
        let meta = meta(&shape, dtype, Location::caller())?;
        buffer.contains(0, padded(meta), buffer.padded_bytes())?;
        Ok(Self {
            meta,
            buffer,
            offset: 0,
        })
    }

    /// Waits for it and copies it to the host.
    ///
    /// # Errors
    ///
    /// Those of [`Buffer::read_range`].
    pub fn to_array(&self) -> Result<Array, TensorError> {
        let bytes = self
            .buffer
            .read_range(self.offset, self.meta.bytes() as u64)?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let (shape, dtype) = (self.meta.shape, self.meta.dtype);
        Array::from_words(shape, dtype, &words).map_err(|error| TensorError::Internal {
            label: self.buffer.label().to_owned(),
            message: error.to_string(),
        })
    }

    /// Waits for it and gives its first element, such as that of a loss.
    ///
    /// # Errors
    ///
    /// Those of [`Buffer::read_range`]; an empty tensor has no such range.
    pub fn item(&self) -> Result<Scalar, TensorError> {
        self.buffer.contains(0, WORD, self.meta.bytes() as u64)?;
        let bytes = self.buffer.read_range(self.offset, WORD)?;
        let word = bytemuck::pod_collect_to_vec(&bytes)
            .first()
            .copied()
            .unwrap_or(0);
        Ok(match self.meta.dtype {
            DType::F32 => f32::from_bits(word).into(),
            DType::I32 => word.cast_signed().into(),
            DType::U32 => word.into(),
            DType::Bool => (word != 0).into(),
        })
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.meta.shape
    }

    /// The dtype.
    pub const fn dtype(&self) -> DType {
        self.meta.dtype
    }

    /// The device it lies on.
    pub fn device(&self) -> &Device {
        self.buffer.device()
    }

    /// The buffer it lies in, maybe beside others that were computed together with it.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Bytes in the buffer before its first element.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {})", self.meta.dtype, self.meta.shape)
    }
}

fn meta(
    shape: &impl IntoShape,
    dtype: DType,
    location: &'static Location<'static>,
) -> Result<Meta, TensorError> {
    let dims = shape.dims();
    let shape = Shape::try_new(&dims).ok_or_else(|| TensorError::Expression {
        op: "a tensor".into(),
        location,
        message: format!("shape {dims:?} has more than 8 axes or too many elements"),
    })?;
    Ok(Meta::new(shape, dtype))
}

/// The bytes a tensor takes.
fn padded(meta: Meta) -> u64 {
    (meta.bytes() as u64).next_multiple_of(16)
}
