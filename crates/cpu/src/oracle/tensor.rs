//! Arrays whose floats have the oracle's precision.

use gradus_graph::ops::{Meta, Real};
use gradus_graph::{Array, DType, Data, Scalar, Shape};

/// The precision of an evaluation: `f64` or `f32`.
pub trait Float: Real + Into<f64> + std::fmt::Debug {}

impl Float for f32 {}
impl Float for f64 {}

/// Row-major values with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    shape: Shape,
    values: Values<T>,
}

/// The elements of a [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values<T> {
    /// `F32` elements, in the precision of the evaluation.
    Float(Vec<T>),
    /// `I32` elements.
    I32(Vec<i32>),
    /// `U32` elements.
    U32(Vec<u32>),
    /// `Bool` elements.
    Bool(Vec<bool>),
}

/// Applies generic code to the elements, whatever their type.
macro_rules! each {
    ($values:expr, $v:ident => $body:expr) => {
        match $values {
            Values::Float($v) => Values::Float($body),
            Values::I32($v) => Values::I32($body),
            Values::U32($v) => Values::U32($body),
            Values::Bool($v) => Values::Bool($body),
        }
    };
}

impl<T: Float> Tensor<T> {
    /// Values of this shape; `None` if their number differs.
    pub fn new(shape: Shape, values: Values<T>) -> Option<Self> {
        (values.len() == shape.numel()).then_some(Self { shape, values })
    }

    /// Floats of this shape; `None` if their number differs.
    pub fn float(shape: Shape, values: Vec<T>) -> Option<Self> {
        Self::new(shape, Values::Float(values))
    }

    /// For ops, which make as many values as their shape has elements.
    pub(crate) fn of(shape: Shape, values: Values<T>) -> Self {
        debug_assert_eq!(values.len(), shape.numel());
        Self { shape, values }
    }

    /// One scalar, everywhere.
    pub fn full(shape: Shape, value: Scalar) -> Self {
        let n = shape.numel();
        let values = match value {
            Scalar::F32(v) => Values::Float(vec![T::of(v); n]),
            Scalar::I32(v) => Values::I32(vec![v; n]),
            Scalar::U32(v) => Values::U32(vec![v; n]),
            Scalar::Bool(v) => Values::Bool(vec![v; n]),
        };
        Self { shape, values }
    }

    /// The values of a host array.
    pub fn from_array(array: &Array) -> Self {
        let values = match array.data() {
            Data::F32(v) => Values::Float(v.iter().map(|&x| T::of(f64::from(x))).collect()),
            Data::I32(v) => Values::I32(v.clone()),
            Data::U32(v) => Values::U32(v.clone()),
            Data::Bool(v) => Values::Bool(v.clone()),
        };
        Self {
            shape: *array.shape(),
            values,
        }
    }

    /// A host array of these values; floats are rounded to `f32`.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "f32 is what host arrays hold"
    )]
    pub fn to_array(&self) -> Array {
        let data = match &self.values {
            Values::Float(v) => Data::F32(v.iter().map(|&x| x.into() as f32).collect()),
            Values::I32(v) => Data::I32(v.clone()),
            Values::U32(v) => Data::U32(v.clone()),
            Values::Bool(v) => Data::Bool(v.clone()),
        };
        Array::new(self.shape, data).unwrap_or_else(|_| Array::zeros(self.shape, self.dtype()))
    }

    /// The elements as `f64`; integers and truth values as numbers.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.values {
            Values::Float(v) => v.iter().map(|&x| x.into()).collect(),
            Values::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Values::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Values::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
        }
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The dtype.
    pub const fn dtype(&self) -> DType {
        match self.values {
            Values::Float(_) => DType::F32,
            Values::I32(_) => DType::I32,
            Values::U32(_) => DType::U32,
            Values::Bool(_) => DType::Bool,
        }
    }

    /// Shape and dtype.
    pub const fn meta(&self) -> Meta {
        Meta::new(self.shape, self.dtype())
    }

    /// The elements.
    pub const fn values(&self) -> &Values<T> {
        &self.values
    }

    /// The elements, if they are floats.
    pub fn floats(&self) -> Option<&[T]> {
        match &self.values {
            Values::Float(v) => Some(v),
            _ => None,
        }
    }

    /// The same elements under another shape; `None` if their number differs.
    pub fn reshape(self, shape: Shape) -> Option<Self> {
        Self::new(shape, self.values)
    }
}

impl<T: Copy> Values<T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// True if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements at these positions.
    pub(super) fn take(&self, positions: &[usize]) -> Self {
        each!(self, v => positions.iter().map(|&p| v[p]).collect())
    }

    /// Writes the elements of `source`, in order, to these positions.
    pub(super) fn put(&mut self, positions: &[usize], source: &Self) {
        fn copy<E: Copy>(to: &mut [E], positions: &[usize], from: &[E]) {
            for (&p, &x) in positions.iter().zip(from) {
                to[p] = x;
            }
        }
        match (self, source) {
            (Self::Float(to), Self::Float(from)) => copy(to, positions, from),
            (Self::I32(to), Self::I32(from)) => copy(to, positions, from),
            (Self::U32(to), Self::U32(from)) => copy(to, positions, from),
            (Self::Bool(to), Self::Bool(from)) => copy(to, positions, from),
            // The shape rules admit one dtype only.
            _ => {}
        }
    }
}

/// `offset + Σ i · stride` for every coordinate of `shape`, in row-major order.
pub(super) fn strided(shape: &[usize], offset: usize, strides: &[usize]) -> Vec<usize> {
    let mut positions = vec![offset];
    for (&size, &stride) in shape.iter().zip(strides) {
        positions = positions
            .iter()
            .flat_map(|p| (0..size).map(move |i| p + i * stride))
            .collect();
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_counts_in_row_major_order() {
        assert_eq!(strided(&[2, 3], 1, &[10, 2]), [1, 3, 5, 11, 13, 15]);
        assert_eq!(strided(&[], 4, &[]), [4]);
        assert_eq!(strided(&[2, 0], 0, &[1, 1]), [0usize; 0]);
    }
}
