//! Shapes: inline, at most eight axes.

use std::fmt;
use std::ops::Deref;

/// The most axes a tensor may have.
pub const MAX_RANK: usize = 8;

/// The sizes of a tensor's axes, outermost first. Reads like a slice of `usize`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    rank: u8,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// The shape of a scalar, `[]`.
    pub const SCALAR: Self = Self {
        rank: 0,
        dims: [1; MAX_RANK],
    };

    /// A shape with these axes; `None` beyond [`MAX_RANK`] axes or if the number of elements
    /// overflows `usize`.
    pub fn try_new(dims: &[usize]) -> Option<Self> {
        let mut shape = Self::SCALAR;
        shape.dims.get_mut(..dims.len())?.copy_from_slice(dims);
        shape.rank = u8::try_from(dims.len()).ok()?;
        // A zero axis must not hide an overflow of the others: strides are products too.
        dims.iter()
            .filter(|&&d| d != 0)
            .try_fold(4usize, |n, &d| n.checked_mul(d))?;
        Some(shape)
    }

    /// A shape from axes that are known to be few and small.
    pub(crate) fn of(dims: &[usize]) -> Self {
        Self::try_new(dims).unwrap_or(Self::SCALAR)
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Number of elements; 1 for a scalar, 0 if any axis is empty.
    pub fn numel(&self) -> usize {
        self.iter().product()
    }

    /// The size of the last axis, 1 for a scalar.
    pub fn last_dim(&self) -> usize {
        self.last().copied().unwrap_or(1)
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank()];
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis] * self[axis];
        }
        strides
    }

    /// The coordinates of an element, counted in row-major order.
    pub fn coordinates(&self, element: usize) -> Vec<usize> {
        let along = |(stride, &size): (usize, &usize)| element / stride.max(1) % size.max(1);
        self.strides()
            .into_iter()
            .zip(self.iter())
            .map(along)
            .collect()
    }

    /// The axis that `axis` names, counting from the end when negative.
    pub fn axis(&self, axis: isize) -> Option<usize> {
        let rank = isize::try_from(self.rank()).ok()?;
        let index = if axis < 0 {
            axis.checked_add(rank)?
        } else {
            axis
        };
        (0..rank).contains(&index).then_some(index.unsigned_abs())
    }

    /// This shape with one axis replaced.
    pub fn with_axis(&self, axis: usize, size: usize) -> Self {
        let mut shape = *self;
        if axis < shape.rank() {
            shape.dims[axis] = size;
        }
        shape
    }

    /// The NumPy broadcast of two shapes, or `None` if they clash.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let rank = self.rank().max(other.rank());
        let at = |s: &Self, i: usize| {
            (i + s.rank())
                .checked_sub(rank)
                .and_then(|j| s.get(j).copied())
                .unwrap_or(1)
        };
        let dims: Option<Vec<usize>> = (0..rank)
            .map(|i| match (at(self, i), at(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect();
        Self::try_new(&dims?)
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.dims[..usize::from(self.rank)]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Anything that names a shape: `64`, `[64, 10]`, `&[64, 10]`, `()`, or a [`Shape`].
pub trait IntoShape {
    /// The axes it names.
    fn dims(&self) -> Vec<usize>;
}

impl IntoShape for Shape {
    fn dims(&self) -> Vec<usize> {
        self.to_vec()
    }
}

impl IntoShape for usize {
    fn dims(&self) -> Vec<usize> {
        vec![*self]
    }
}

impl IntoShape for () {
    fn dims(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<const N: usize> IntoShape for [usize; N] {
    fn dims(&self) -> Vec<usize> {
        self.as_slice().to_vec()
    }
}

impl IntoShape for &[usize] {
    fn dims(&self) -> Vec<usize> {
        self.to_vec()
    }
}

impl IntoShape for Vec<usize> {
    fn dims(&self) -> Vec<usize> {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::try_new(dims).unwrap()
    }

    #[test]
    fn broadcast_follows_numpy() {
        assert_eq!(
            shape(&[3, 1, 4]).broadcast(&shape(&[5, 1])),
            Some(shape(&[3, 5, 4]))
        );
        assert_eq!(
            shape(&[2, 0, 3]).broadcast(&shape(&[1, 3])),
            Some(shape(&[2, 0, 3]))
        );
        assert_eq!(shape(&[]).broadcast(&shape(&[2])), Some(shape(&[2])));
        assert_eq!(shape(&[2]).broadcast(&shape(&[3])), None);
    }

    #[test]
    fn too_large_or_too_deep_is_refused() {
        assert_eq!(Shape::try_new(&[1; 9]), None);
        assert_eq!(Shape::try_new(&[usize::MAX, 2]), None);
        assert_eq!(Shape::try_new(&[0, usize::MAX, 2]), None);
    }

    #[test]
    fn negative_axes_count_from_the_end() {
        let s = shape(&[2, 3]);
        assert_eq!(
            (s.axis(-1), s.axis(1), s.axis(2), s.axis(-3)),
            (Some(1), Some(1), None, None)
        );
    }
}
