//! Elements by index, and sums of elements into places. Indices are `i32` or `u32` and count from 0;
//! one outside makes the step an error that names the layer and the value.

use super::{Operand, Var};
use crate::ops::{FirstPosition, Gather, Op, ScatterAdd};
use crate::{DType, Shape};

impl<'g> Var<'g> {
    /// Rows of this table: `[V, r…]` and indices `[i…]` in `0..V` give `[i…, r…]`. A bad index
    /// makes the step an error.
    #[track_caller]
    pub fn gather(self, index: Self) -> Self {
        let bound = u32::try_from(self.dim(0)).unwrap_or(u32::MAX);
        self.apply(Op::Gather(Gather), &[index.check_index(bound)])
    }

    /// Elements of this, seen as one axis: indices `[i…]` in `0..numel` give `[i…]`.
    #[track_caller]
    pub fn take(self, index: Self) -> Self {
        self.flatten(0).gather(index)
    }

    /// Positions of one axis: `[a…, V, b…]` and indices `[i…]` in `0..V` give `[a…, i…, b…]`.
    #[track_caller]
    pub fn index_select(self, index: Self, axis: isize) -> Self {
        let op = "index_select";
        let Some(axis) = self.named_axis(op, axis).filter(|_| !index.is_poisoned()) else {
            return self.poison();
        };
        let shape = self.shape();
        let dims = [&shape[..axis], &index.shape()[..], &shape[axis + 1..]].concat();
        if Shape::try_new(&dims).is_none() {
            let message = format!("{shape} by {} has too many axes or elements", index.shape());
            return self.graph.fail(op, message);
        }
        if axis == 0 {
            return self.gather(index);
        }
        let (outer, inner): (usize, usize) = (
            shape[..axis].iter().product(),
            shape[axis + 1..].iter().product(),
        );
        let Some(index) = self.positions(op, index, axis) else {
            return self.poison();
        };
        let count = index.shape().numel();
        let index = index.reshape([1, count]).expand([outer, count]);
        let rows = self.graph.iota([outer, count], 0) * size(shape[axis]) + index;
        let table = self.reshape([outer * shape[axis], inner]);
        table.apply(Op::Gather(Gather), &[rows]).reshape(dims)
    }

    /// One element for each index, from the same place of all other axes, as PyTorch's `gather` and
    /// NumPy's `take_along_axis`: `y[…, i, …] = x[…, index[…, i, …], …]`.
    ///
    /// The index has as many axes as this and at most its size on each but `axis`; the result has
    /// the shape of the index.
    #[track_caller]
    pub fn take_along_axis(self, index: Self, axis: isize) -> Self {
        match self.flat_index("take_along_axis", index, axis) {
            Some(flat) => self.flatten(0).apply(Op::Gather(Gather), &[flat]),
            None => self.poison(),
        }
    }

    /// As [`Var::take_along_axis`], by positions that an op of ours has made: they are not checked.
    #[track_caller]
    pub(super) fn picked(self, order: Self, axis: isize) -> Self {
        match self.named_axis("take_along_axis", axis) {
            Some(axis) => {
                let flat = self.flattened(order, axis);
                self.flatten(0).apply(Op::Gather(Gather), &[flat])
            }
            None => self.poison(),
        }
    }

    /// Adds elements at places along one axis, as PyTorch's `scatter_add`:
    /// `y[…, index[…, i, …], …] += src[…, i, …]`, repeated places in ascending order of position.
    ///
    /// `src` is a number or has at least the shape of the index; the index has at most the size of
    /// this on each axis but `axis`.
    #[track_caller]
    pub fn scatter_add(self, index: Self, src: impl Operand<'g>, axis: isize) -> Self {
        let op = "scatter_add";
        let flat = self.flat_index(op, index, axis);
        let src = self.scattered(op, index, src.operand(self));
        let Some((flat, src)) = flat.zip(src) else {
            return self.poison();
        };
        let rows = self.shape().numel();
        let sums = src.apply(Op::ScatterAdd(ScatterAdd { rows }), &[flat]);
        self + sums.reshape(self.shape())
    }

    /// Puts elements at places along one axis, as PyTorch's `scatter`:
    /// `y[…, index[…, i, …], …] = src[…, i, …]`; elsewhere `y` is this. Where PyTorch leaves open
    /// which of repeated places counts, the last position does.
    ///
    /// Shapes are as for [`Var::scatter_add`].
    #[track_caller]
    pub fn scatter(self, index: Self, src: impl Operand<'g>, axis: isize) -> Self {
        let op = "scatter";
        let flat = self.flat_index(op, index, axis);
        let src = self.scattered(op, index, src.operand(self));
        let Some((flat, src)) = flat.zip(src) else {
            return self.poison();
        };
        let (rows, count) = (self.shape().numel(), flat.shape().numel());
        if count == 0 {
            return self;
        }
        let places = flat.flatten(0);
        let order = places.argsort(0);
        // The sort is stable: the last of equal places is the one before another.
        let sorted = places.picked(order, 0);
        let next = sorted.slice_axis(0, 1, count);
        let last = sorted.ne(next.concat(&[self.graph.full([1], -1)], 0));
        let put = |values: Self| {
            // A number takes the dtype of the other side.
            let some = last.select(values, 0.0);
            some.apply(Op::ScatterAdd(ScatterAdd { rows }), &[sorted])
                .reshape(self.shape())
        };
        let hit = put(self.graph.full([count], 1)).gt(0);
        hit.select(put(src.flatten(0).picked(order, 0)), self)
    }

    /// The first position of these indices `[N]` that names each of `rows` rows, or `N` if none does:
    /// `[rows]`, `i32`. What NumPy's `unique` gives by `return_index`, for all numbers in `0..rows`.
    #[track_caller]
    pub fn first_position(self, rows: usize) -> Self {
        let bound = u32::try_from(rows).unwrap_or(u32::MAX);
        let op = FirstPosition { rows };
        self.check_index(bound).apply(Op::FirstPosition(op), &[])
    }

    /// What is to be scattered, in the shape of the index.
    #[track_caller]
    fn scattered(self, op: &'static str, index: Self, src: Self) -> Option<Self> {
        if src.is_poisoned() || self.is_poisoned() || index.is_poisoned() {
            return None;
        }
        let (shape, want) = (src.shape(), index.shape());
        if src.dtype() != self.dtype() || self.dtype() == DType::Bool {
            let (to, from) = (self.dtype(), src.dtype());
            let message = format!("expected numbers of one dtype, found {to} and {from}");
            self.graph.fail(op, message);
            return None;
        }
        if shape.rank() == 0 {
            return Some(src.expand(want));
        }
        let fits =
            shape.rank() == want.rank() && want.iter().zip(shape.iter()).all(|(w, s)| w <= s);
        if !fits {
            let message = format!("values {shape} for an index {want}");
            self.graph.fail(op, message);
            return None;
        }
        let start = vec![0; want.rank()];
        Some(src.slice(&start, &want, &vec![1; want.rank()]))
    }

    /// For each index along `axis`, its element of this in row-major order.
    #[track_caller]
    fn flat_index(self, op: &'static str, index: Self, axis: isize) -> Option<Self> {
        let axis = self.named_axis(op, axis)?;
        if index.is_poisoned() {
            return None;
        }
        let (shape, want) = (self.shape(), index.shape());
        let fits = |a: usize| a == axis || want[a] <= shape[a];
        if want.rank() != shape.rank() || !(0..want.rank()).all(fits) {
            let message = format!(
                "an index {want} along axis {axis} of {shape} needs as many axes, and at most its \
                 size on the others"
            );
            self.graph.fail(op, message);
            return None;
        }
        Some(self.flattened(self.positions(op, index, axis)?, axis))
    }

    /// For each position along `axis`, its element of this in row-major order.
    fn flattened(self, positions: Self, axis: usize) -> Self {
        let (strides, want) = (self.shape().strides(), positions.shape());
        let mut flat = positions * size(strides[axis]);
        for other in (0..want.rank()).filter(|&a| a != axis && want[a] > 1) {
            flat = flat + self.graph.iota(want, other) * size(strides[other]);
        }
        flat
    }

    /// These indices into an axis, checked, as `i32`.
    #[track_caller]
    fn positions(self, op: &'static str, index: Self, axis: usize) -> Option<Self> {
        if index.is_poisoned() {
            return None;
        }
        if i32::try_from(self.shape().numel()).is_err() {
            let message = format!("{} has more elements than i32 can count", self.shape());
            self.graph.fail(op, message);
            return None;
        }
        let bound = u32::try_from(self.shape()[axis]).unwrap_or(u32::MAX);
        let checked = index.check_index(bound);
        (!checked.is_poisoned()).then(|| checked.cast(DType::I32))
    }

    /// This with `value` where `mask` (bool, broadcast to the shape of this) holds.
    #[track_caller]
    pub fn masked_fill(self, mask: Self, value: impl Operand<'g>) -> Self {
        if self.is_poisoned() || mask.is_poisoned() {
            return self.poison();
        }
        if mask.shape().broadcast(&self.shape()) != Some(self.shape()) {
            let message = format!("a mask {} for {}", mask.shape(), self.shape());
            return self.graph.fail("masked_fill", message);
        }
        mask.select(value, self)
    }

    /// 1 at each index, else 0: indices `[i…]` in `0..classes` give `f32` `[i…, classes]`.
    #[track_caller]
    pub fn one_hot(self, classes: usize) -> Self {
        if self.is_poisoned() {
            return self;
        }
        let shape = Shape::try_new(&[&self.shape()[..], &[classes]].concat());
        let bound = i32::try_from(classes).ok().filter(|&n| n > 0);
        let (Some(shape), Some(bound)) = (shape, bound) else {
            let message = format!("{classes} classes for {}", self.shape());
            return self.graph.fail("one_hot", message);
        };
        let index = self.check_index(bound.unsigned_abs());
        if index.is_poisoned() {
            return index;
        }
        let here = index.cast(DType::I32).unsqueeze(-1);
        let hot = self.graph.iota(shape, self.rank()).eq(here);
        hot.cast(DType::F32)
    }
}

/// A size that was checked to be one.
fn size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
