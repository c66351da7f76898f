//! Host arrays.

use thiserror::Error;

use crate::{DType, IntoShape, Shape};

/// Row-major data on the host, with shape and dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Shape,
    data: Data,
}

/// The elements of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `F32` elements.
    F32(Vec<f32>),
    /// `I32` elements.
    I32(Vec<i32>),
    /// `U32` elements.
    U32(Vec<u32>),
    /// `Bool` elements.
    Bool(Vec<bool>),
}

/// Why an array could not be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArrayError {
    /// The number of values differs from the number of elements in the shape.
    #[error("array of shape {shape} needs {} values, found {found}", .shape.numel())]
    Length {
        /// The shape asked for.
        shape: Shape,
        /// Values given.
        found: usize,
    },
    /// More than eight axes, or more elements than memory can address.
    #[error("shape {dims:?} has more than 8 axes or too many elements")]
    Shape {
        /// The axes asked for.
        dims: Vec<usize>,
    },
    /// The array holds another dtype.
    #[error("expected {expected} elements, found {found}")]
    DType {
        /// The dtype asked for.
        expected: DType,
        /// The dtype held.
        found: DType,
    },
}

impl Array {
    /// An array of `shape` over `values`.
    ///
    /// # Errors
    /// If the number of values is not the number of elements, or the shape is too large.
    pub fn new(shape: impl IntoShape, values: impl Into<Data>) -> Result<Self, ArrayError> {
        let dims = shape.dims();
        let shape = Shape::try_new(&dims).ok_or(ArrayError::Shape { dims })?;
        let data = values.into();
        if data.len() != shape.numel() {
            return Err(ArrayError::Length {
                shape,
                found: data.len(),
            });
        }
        Ok(Self { shape, data })
    }

    /// A one-axis array over `values`.
    pub fn vector(values: impl Into<Data>) -> Self {
        let data = values.into();
        Self {
            shape: Shape::of(&[data.len()]),
            data,
        }
    }

    /// A scalar.
    pub fn scalar(value: f32) -> Self {
        Self {
            shape: Shape::SCALAR,
            data: Data::F32(vec![value]),
        }
    }

    /// Zeros (or false) of this shape.
    pub fn zeros(shape: Shape, dtype: DType) -> Self {
        let n = shape.numel();
        let data = match dtype {
            DType::F32 => Data::F32(vec![0.0; n]),
            DType::I32 => Data::I32(vec![0; n]),
            DType::U32 => Data::U32(vec![0; n]),
            DType::Bool => Data::Bool(vec![false; n]),
        };
        Self { shape, data }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements, taken out.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshape(self, shape: impl IntoShape) -> Result<Self, ArrayError> {
        Self::new(shape, self.data)
    }

    /// The elements as `f32`.
    ///
    /// # Errors
    /// If the array holds another dtype.
    pub fn as_f32(&self) -> Result<&[f32], ArrayError> {
        match &self.data {
            Data::F32(v) => Ok(v),
            other => Err(ArrayError::DType {
                expected: DType::F32,
                found: other.dtype(),
            }),
        }
    }

    /// The elements as `i32`.
    ///
    /// # Errors
    /// If the array holds another dtype.
    pub fn as_i32(&self) -> Result<&[i32], ArrayError> {
        match &self.data {
            Data::I32(v) => Ok(v),
            other => Err(ArrayError::DType {
                expected: DType::I32,
                found: other.dtype(),
            }),
        }
    }

    /// The elements as 32-bit words, as device memory holds them.
    pub fn to_words(&self) -> Vec<u32> {
        match &self.data {
            Data::F32(v) => v.iter().map(|x| x.to_bits()).collect(),
            Data::I32(v) => v.iter().map(|x| x.cast_unsigned()).collect(),
            Data::U32(v) => v.clone(),
            Data::Bool(v) => v.iter().map(|&x| u32::from(x)).collect(),
        }
    }

    /// The array that device memory holds as `words`; any non-zero word is true.
    ///
    /// # Errors
    /// If the number of words is not the number of elements.
    pub fn from_words(shape: Shape, dtype: DType, words: &[u32]) -> Result<Self, ArrayError> {
        let data = match dtype {
            DType::F32 => Data::F32(words.iter().map(|&w| f32::from_bits(w)).collect()),
            DType::I32 => Data::I32(words.iter().map(|&w| w.cast_signed()).collect()),
            DType::U32 => Data::U32(words.to_vec()),
            DType::Bool => Data::Bool(words.iter().map(|&w| w != 0).collect()),
        };
        Self::new(shape, data)
    }
}

impl Data {
    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::I32(_) => DType::I32,
            Self::U32(_) => DType::U32,
            Self::Bool(_) => DType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// True if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<f32>> for Data {
    fn from(v: Vec<f32>) -> Self {
        Self::F32(v)
    }
}

impl From<Vec<i32>> for Data {
    fn from(v: Vec<i32>) -> Self {
        Self::I32(v)
    }
}

impl From<Vec<u32>> for Data {
    fn from(v: Vec<u32>) -> Self {
        Self::U32(v)
    }
}

impl From<Vec<bool>> for Data {
    fn from(v: Vec<bool>) -> Self {
        Self::Bool(v)
    }
}
