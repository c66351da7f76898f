//! Element types and scalars.

use std::fmt;

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit IEEE 754 float.
    F32,
    /// 32-bit signed integer; arithmetic wraps.
    I32,
    /// 32-bit unsigned integer; arithmetic wraps.
    U32,
    /// True or false; four bytes (0 or 1) in device memory.
    Bool,
}

impl DType {
    /// Bytes of one element in device memory.
    pub const fn bytes(self) -> usize {
        4
    }

    /// True for `F32`.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32)
    }

    /// True for `I32` and `U32`.
    pub const fn is_int(self) -> bool {
        matches!(self, Self::I32 | Self::U32)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::Bool => "bool",
        })
    }
}

/// One value of any dtype. Floats are kept in f64 so that f64 evaluation loses nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// An `F32` value.
    F32(f64),
    /// An `I32` value.
    I32(i32),
    /// A `U32` value.
    U32(u32),
    /// A `Bool` value.
    Bool(bool),
}

impl Scalar {
    /// The dtype of this value.
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::I32(_) => DType::I32,
            Self::U32(_) => DType::U32,
            Self::Bool(_) => DType::Bool,
        }
    }

    /// Zero, or false.
    pub const fn zero(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32(0.0),
            DType::I32 => Self::I32(0),
            DType::U32 => Self::U32(0),
            DType::Bool => Self::Bool(false),
        }
    }

    /// The 32 bits that stand for this value in device memory.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "f32 is what the device holds"
    )]
    pub const fn to_bits(self) -> u32 {
        match self {
            Self::F32(v) => (v as f32).to_bits(),
            Self::I32(v) => v.cast_unsigned(),
            Self::U32(v) => v,
            Self::Bool(v) => v as u32,
        }
    }
}

impl From<f64> for Scalar {
    fn from(v: f64) -> Self {
        Self::F32(v)
    }
}

impl From<f32> for Scalar {
    fn from(v: f32) -> Self {
        Self::F32(f64::from(v))
    }
}

impl From<i32> for Scalar {
    fn from(v: i32) -> Self {
        Self::I32(v)
    }
}

impl From<u32> for Scalar {
    fn from(v: u32) -> Self {
        Self::U32(v)
    }
}

impl From<bool> for Scalar {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32(v) => write!(f, "{v:?}"),
            Self::I32(v) => write!(f, "{v}"),
            Self::U32(v) => write!(f, "{v}"),
            Self::Bool(v) => write!(f, "{v}"),
        }
    }
}
