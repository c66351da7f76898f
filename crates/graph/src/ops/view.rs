//! Views: ops that only move elements. Lowering folds them into index expressions.

use super::{Meta, Op};
use crate::{Scalar, Shape, Var};

/// The same elements, in row-major order, under another shape, as the gradient is back.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// The new shape.
    pub shape: Shape,
}

impl Reshape {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        if x.shape.numel() != self.shape.numel() {
            return Err(format!(
                "{} has {} elements but {} needs {}",
                x.shape,
                x.shape.numel(),
                self.shape,
                self.shape.numel()
            ));
        }
        Ok(Meta::new(self.shape, x.dtype))
    }
}

/// Repeats axes of size 1; the rank stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    /// The new shape.
    pub shape: Shape,
}

impl Expand {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        let fits = x.shape.rank() == self.shape.rank()
            && x.shape
                .iter()
                .zip(self.shape.iter())
                .all(|(&a, &b)| a == b || a == 1);
        if !fits {
            return Err(format!("{} does not broadcast to {}", x.shape, self.shape));
        }
        Ok(Meta::new(self.shape, x.dtype))
    }

    /// Summed over the axes that were repeated.
    pub(crate) fn vjp<'g>(&self, x: Var<'g>, dy: Var<'g>) -> Var<'g> {
        let axes: Vec<isize> = (0isize..)
            .zip(x.shape().iter().zip(self.shape.iter()))
            .filter(|(_, (a, b))| a != b)
            .map(|(i, _)| i)
            .collect();
        dy.sum_keep(&axes)
    }
}

/// `y.shape[i] = x.shape[axes[i]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Permute {
    /// The axis of `x` that each axis of `y` is.
    pub axes: Vec<usize>,
}

impl Permute {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        if sorted != (0..x.shape.rank()).collect::<Vec<_>>() {
            return Err(format!(
                "{:?} is not an order of the axes of {}",
                self.axes, x.shape
            ));
        }
        let dims: Vec<usize> = self.axes.iter().map(|&a| x.shape[a]).collect();
        Ok(Meta::new(Shape::of(&dims), x.dtype))
    }

    /// The order that undoes this one.
    pub fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.axes.len()];
        for (i, &a) in self.axes.iter().enumerate() {
            inverse[a] = i;
        }
        inverse
    }

    /// The order that undoes this one.
    pub(crate) fn vjp<'g>(&self, dy: Var<'g>) -> Var<'g> {
        dy.apply(
            Op::Permute(Self {
                axes: self.inverse(),
            }),
            &[],
        )
    }
}

/// `y[i…] = x[start + i · step …]`, for `start ≤ … < stop`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// First position on each axis.
    pub start: Vec<usize>,
    /// One past the last position on each axis.
    pub stop: Vec<usize>,
    /// Distance between positions on each axis, at least 1.
    pub step: Vec<usize>,
}

impl Slice {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        let rank = x.shape.rank();
        if [self.start.len(), self.stop.len(), self.step.len()] != [rank; 3] {
            return Err(format!("needs a range for each axis of {}", x.shape));
        }
        let mut dims = Vec::with_capacity(rank);
        for (axis, &size) in x.shape.iter().enumerate() {
            let (start, stop, step) = (self.start[axis], self.stop[axis], self.step[axis]);
            if start > stop || stop > size || step == 0 {
                return Err(format!(
                    "range {start}..{stop} step {step} is not inside axis {axis} of {}",
                    x.shape
                ));
            }
            dims.push((stop - start).div_ceil(step));
        }
        Ok(Meta::new(Shape::of(&dims), x.dtype))
    }

    /// Undoes the slice with zeros: strides by interleaving, offsets by padding.
    pub(crate) fn vjp<'g>(&self, x: Var<'g>, dy: Var<'g>) -> Var<'g> {
        let mut dx = dy;
        for axis in 0..self.step.len() {
            let step = self.step[axis];
            let (size, taken) = (x.shape()[axis], dx.shape()[axis]);
            if step > 1 && taken > 0 {
                let shape = dx.shape();
                let outer = shape[..=axis].iter().product();
                let inner = shape[axis + 1..].iter().product();
                let spread = dx.reshape([outer, 1, inner]);
                let spread = spread.pad(&[0; 3], &[0, step - 1, 0], 0.0);
                dx = spread.reshape(shape.with_axis(axis, taken * step));
                let stop = (size - self.start[axis]).min(taken * step);
                dx = dx.slice_axis(axis, 0, stop);
            }
            let mut before = vec![0; self.step.len()];
            let mut after = before.clone();
            before[axis] = self.start[axis];
            after[axis] = size - self.start[axis] - dx.shape()[axis];
            dx = dx.pad(&before, &after, 0.0);
        }
        dx
    }
}

/// Reverses axes: `y[…, i, …] = x[…, size − 1 − i, …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flip {
    /// The axes, ascending.
    pub axes: Vec<usize>,
}

impl Flip {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        match self.axes.iter().find(|&&a| a >= x.shape.rank()) {
            Some(axis) => Err(format!("{} has no axis {axis}", x.shape)),
            None => Ok(x),
        }
    }

    /// Reversed again.
    pub(crate) fn vjp<'g>(&self, dy: Var<'g>) -> Var<'g> {
        dy.apply(Op::Flip(self.clone()), &[])
    }
}

/// Surrounds `x` with a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// Elements added before each axis.
    pub before: Vec<usize>,
    /// Elements added after each axis.
    pub after: Vec<usize>,
    /// What is added.
    pub value: Scalar,
}

impl Pad {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        let rank = x.shape.rank();
        if [self.before.len(), self.after.len()] != [rank; 2] {
            return Err(format!("needs a width for each axis of {}", x.shape));
        }
        if self.value.dtype() != x.dtype {
            return Err(format!("pads {} with {}", x.dtype, self.value.dtype()));
        }
        let dims: Option<Vec<usize>> = (0..rank)
            .map(|i| {
                x.shape[i]
                    .checked_add(self.before[i])?
                    .checked_add(self.after[i])
            })
            .collect();
        let shape = dims.and_then(|d| Shape::try_new(&d));
        let shape = shape.ok_or_else(|| "the padded shape is too large".to_string())?;
        Ok(Meta::new(shape, x.dtype))
    }

    /// The part that `x` is.
    pub(crate) fn vjp<'g>(&self, x: Var<'g>, dy: Var<'g>) -> Var<'g> {
        let stop: Vec<usize> = self
            .before
            .iter()
            .zip(x.shape().iter())
            .map(|(b, d)| b + d)
            .collect();
        dy.slice(&self.before, &stop, &vec![1; stop.len()])
    }
}

/// Joins arrays along one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Concat {
    pub(crate) fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let Some(first) = inputs.first() else {
            return Err("needs at least one input".into());
        };
        if self.axis >= first.shape.rank() {
            return Err(format!("{} has no axis {}", first.shape, self.axis));
        }
        let mut size = 0usize;
        for x in inputs {
            let fits = x.shape.rank() == first.shape.rank()
                && x.shape.with_axis(self.axis, 0) == first.shape.with_axis(self.axis, 0);
            if !fits {
                return Err(format!(
                    "{} and {} differ beside axis {}",
                    first.shape, x.shape, self.axis
                ));
            }
            if x.dtype != first.dtype {
                return Err(format!("inputs are {} and {}", first.dtype, x.dtype));
            }
            size = size.saturating_add(x.shape[self.axis]);
        }
        let shape = Shape::try_new(&first.shape.with_axis(self.axis, size));
        Ok(Meta::new(
            shape.ok_or("the joined shape is too large")?,
            first.dtype,
        ))
    }

    /// The part that each input is.
    pub(crate) fn vjp<'g>(&self, x: &[Var<'g>], dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let mut start = 0;
        x.iter()
            .map(|x| {
                let stop = start + x.shape()[self.axis];
                let dx = dy.slice_axis(self.axis, start, stop);
                start = stop;
                Some(dx)
            })
            .collect()
    }
}
