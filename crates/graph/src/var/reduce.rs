//! Reductions. An empty list of axes reduces nothing; negative axes count from the end.

use super::Var;
use crate::ops::{ArgReduce, Op, Reduce, Reduction};
use crate::{Scalar, Shape};

impl<'g> Var<'g> {
    #[track_caller]
    fn reduce(self, op: Reduction, axes: &[isize]) -> Self {
        match self.named_axes(op.name(), axes) {
            Some(axes) if axes.is_empty() => self,
            Some(axes) => self.apply(Op::Reduce(Reduce { op, axes }), &[]),
            None => self.poison(),
        }
    }

    /// The axes that these name, ascending; `None`, with the mistake recorded, if there is no such
    /// axis or one is named twice.
    #[track_caller]
    pub(super) fn named_axes(self, op: &'static str, axes: &[isize]) -> Option<Vec<usize>> {
        let mut list = Vec::with_capacity(axes.len());
        for &name in axes {
            let axis = self.named_axis(op, name)?;
            if list.contains(&axis) {
                self.graph.fail(op, format!("axis {name} is named twice"));
                return None;
            }
            list.push(axis);
        }
        list.sort_unstable();
        (!self.is_poisoned()).then_some(list)
    }

    /// The axis that this names; `None`, with the mistake recorded, if there is none.
    #[track_caller]
    pub(super) fn named_axis(self, op: &'static str, axis: isize) -> Option<usize> {
        if self.is_poisoned() {
            return None;
        }
        let found = self.shape().axis(axis);
        if found.is_none() {
            let shape = self.shape();
            self.graph.fail(op, format!("{shape} has no axis {axis}"));
        }
        found
    }

    /// Removes the axes that a reduction left with size 1.
    pub(super) fn squeeze_reduced(self, axes: &[isize], before: Shape) -> Self {
        let gone: Vec<usize> = axes.iter().filter_map(|&a| before.axis(a)).collect();
        let kept = (0..self.rank()).filter(|a| !gone.contains(a));
        self.reshape(kept.map(|a| self.shape()[a]).collect::<Vec<_>>())
    }

    /// The sum over these axes, which stay with size 1.
    #[track_caller]
    pub fn sum_keep(self, axes: &[isize]) -> Self {
        self.reduce(Reduction::Sum, axes)
    }

    /// The sum over these axes, which go.
    #[track_caller]
    pub fn sum(self, axes: &[isize]) -> Self {
        self.sum_keep(axes).squeeze_reduced(axes, self.shape())
    }

    /// The sum of all elements, a scalar.
    #[track_caller]
    pub fn sum_all(self) -> Self {
        self.sum(&self.all_axes())
    }

    /// The product over these axes, which stay with size 1; 1 of nothing. The gradient is right
    /// beside zeros: `dx = dy · (product of all others)`.
    #[track_caller]
    pub fn prod_keep(self, axes: &[isize]) -> Self {
        self.reduce(Reduction::Prod, axes)
    }

    /// The product over these axes, which go; see [`Var::prod_keep`].
    #[track_caller]
    pub fn prod(self, axes: &[isize]) -> Self {
        self.prod_keep(axes).squeeze_reduced(axes, self.shape())
    }

    /// The largest over these axes, which stay with size 1. Ties share the gradient evenly.
    #[track_caller]
    pub fn max_keep(self, axes: &[isize]) -> Self {
        self.reduce(Reduction::Max, axes)
    }

    /// The largest over these axes, which go. Ties share the gradient evenly.
    #[track_caller]
    pub fn max(self, axes: &[isize]) -> Self {
        self.max_keep(axes).squeeze_reduced(axes, self.shape())
    }

    /// The smallest over these axes, which stay with size 1. Ties share the gradient evenly.
    #[track_caller]
    pub fn min_keep(self, axes: &[isize]) -> Self {
        self.reduce(Reduction::Min, axes)
    }

    /// The smallest over these axes, which go. Ties share the gradient evenly.
    #[track_caller]
    pub fn min(self, axes: &[isize]) -> Self {
        self.min_keep(axes).squeeze_reduced(axes, self.shape())
    }

    /// The mean over these axes, which stay with size 1; NaN of nothing.
    #[track_caller]
    pub fn mean_keep(self, axes: &[isize]) -> Self {
        let count: usize = axes
            .iter()
            .filter_map(|&a| self.shape().axis(a))
            .map(|a| self.shape()[a])
            .product();
        self.sum_keep(axes) * (1.0 / count as f64)
    }

    /// The mean over these axes, which go; NaN of nothing.
    #[track_caller]
    pub fn mean(self, axes: &[isize]) -> Self {
        self.mean_keep(axes).squeeze_reduced(axes, self.shape())
    }

    /// The mean of all elements, a scalar.
    #[track_caller]
    pub fn mean_all(self) -> Self {
        self.mean(&self.all_axes())
    }

    pub(super) fn all_axes(self) -> Vec<isize> {
        (0..self.rank()).map(usize::cast_signed).collect()
    }

    #[track_caller]
    fn arg_reduce(self, op: Reduction, axis: isize) -> Self {
        let name = ArgReduce { op, axis: 0 }.name();
        match self.named_axis(name, axis) {
            Some(axis) => self.apply(Op::ArgReduce(ArgReduce { op, axis }), &[]),
            None => self.poison(),
        }
    }

    /// The first position of the largest element along one axis, which goes; `i32`.
    #[track_caller]
    pub fn argmax(self, axis: isize) -> Self {
        self.arg_reduce(Reduction::Max, axis)
            .squeeze_reduced(&[axis], self.shape())
    }

    /// The first position of the smallest element along one axis, which goes; `i32`.
    #[track_caller]
    pub fn argmin(self, axis: isize) -> Self {
        self.arg_reduce(Reduction::Min, axis)
            .squeeze_reduced(&[axis], self.shape())
    }

    /// The largest element along one axis, which goes, and its first position (`i32`). The gradient
    /// flows to that element alone, as in PyTorch's `max(dim)`.
    #[track_caller]
    pub fn max_with_index(self, axis: isize) -> (Self, Self) {
        self.extreme_with_index(Reduction::Max, axis)
    }

    /// The smallest element along one axis, which goes, and its first position (`i32`). The
    /// gradient flows to that element alone.
    #[track_caller]
    pub fn min_with_index(self, axis: isize) -> (Self, Self) {
        self.extreme_with_index(Reduction::Min, axis)
    }

    #[track_caller]
    fn extreme_with_index(self, op: Reduction, axis: isize) -> (Self, Self) {
        let kept = self.arg_reduce(op, axis);
        let Some(number) = self.shape().axis(axis).filter(|_| !kept.is_poisoned()) else {
            return (kept, kept);
        };
        let here = self.graph.iota(self.shape(), number).eq(kept);
        let only = here.select(self, Scalar::zero(self.dtype()));
        let shape = self.shape();
        let squeeze = |v: Self| v.squeeze_reduced(&[axis], shape);
        (squeeze(only.sum_keep(&[axis])), squeeze(kept))
    }
}
