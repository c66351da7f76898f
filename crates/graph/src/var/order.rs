//! Running results and sorted orders. Negative axes count from the end.

use super::Var;
use crate::DType;
use crate::ops::{ArgSort, Op, Scan, Scanning};

impl<'g> Var<'g> {
    /// The running sum along one axis: `yᵢ = x₀ + … + xᵢ`.
    #[track_caller]
    pub fn cumsum(self, axis: isize) -> Self {
        self.scan(Scanning::Sum, &[self], axis)
    }

    /// The running product along one axis: `yᵢ = x₀ · … · xᵢ`. Its gradient is right beside zeros.
    #[track_caller]
    pub fn cumprod(self, axis: isize) -> Self {
        self.scan(Scanning::Prod, &[self], axis)
    }

    /// The largest element so far along one axis, and its position (`i32`), the last of equal ones as
    /// in PyTorch. The gradient flows to that element.
    #[track_caller]
    pub fn cummax(self, axis: isize) -> (Self, Self) {
        let fixed = self.stop_gradient();
        let best = self.scan(Scanning::Max, &[fixed], axis);
        let Some(number) = self.shape().axis(axis).filter(|_| !best.is_poisoned()) else {
            return (best, best);
        };
        let at = self.graph.iota(self.shape(), number);
        let reached = fixed.ge(best).select(at, 0);
        let index = self.scan(Scanning::Max, &[reached], axis);
        (self.picked(index, axis), index)
    }

    /// The linear recurrence along one axis: `yᵢ = decayᵢ · yᵢ₋₁ + xᵢ` with `y₋₁ = 0`. A number or
    /// another `decay` that broadcasts to this gives moving averages, state space models and returns.
    #[track_caller]
    pub fn linear_scan(self, decay: impl super::Operand<'g>, axis: isize) -> Self {
        let decay = decay.operand(self);
        if self.is_poisoned() || decay.is_poisoned() {
            return self.poison();
        }
        if decay.shape().broadcast(&self.shape()) != Some(self.shape()) {
            let message = format!("a decay {} for {}", decay.shape(), self.shape());
            return self.graph.fail(Scanning::Linear.name(), message);
        }
        self.scan(Scanning::Linear, &[decay.expand(self.shape()), self], axis)
    }

    #[track_caller]
    fn scan(self, op: Scanning, inputs: &[Self], axis: isize) -> Self {
        let Some((axis, (first, more))) =
            self.named_axis(op.name(), axis).zip(inputs.split_first())
        else {
            return self.poison();
        };
        let reverse = false;
        first.apply(Op::Scan(Scan { op, axis, reverse }), more)
    }

    /// The positions along one axis in ascending order of their elements, `i32`; equal elements keep
    /// their order. NaN is larger than all numbers, as in PyTorch.
    #[track_caller]
    pub fn argsort(self, axis: isize) -> Self {
        self.order(axis, false)
    }

    /// The positions along one axis in descending order of their elements, `i32`; equal elements keep
    /// their order, and NaN comes first.
    #[track_caller]
    pub fn argsort_descending(self, axis: isize) -> Self {
        self.order(axis, true)
    }

    #[track_caller]
    fn order(self, axis: isize, descending: bool) -> Self {
        let Some(number) = self.named_axis("argsort", axis) else {
            return self.poison();
        };
        let last = self.movedim(&[axis], &[-1]);
        let run = self.shape()[number].max(1);
        let order = last.apply(Op::ArgSort(ArgSort { descending, run }), &[]);
        if order.is_poisoned() {
            return order;
        }
        order.movedim(&[-1], &[axis])
    }

    /// The elements along one axis in ascending order, and the positions they come from (`i32`): see
    /// [`Var::argsort`]. The gradient of an element flows to where it comes from.
    #[track_caller]
    pub fn sort(self, axis: isize) -> (Self, Self) {
        self.ordered(self.argsort(axis), axis)
    }

    /// The elements along one axis in descending order, and the positions they come from (`i32`): see
    /// [`Var::argsort_descending`].
    #[track_caller]
    pub fn sort_descending(self, axis: isize) -> (Self, Self) {
        self.ordered(self.argsort_descending(axis), axis)
    }

    /// The `k` largest elements along one axis, the largest first, and their positions (`i32`); of
    /// equal ones those that come first.
    #[track_caller]
    pub fn topk(self, k: usize, axis: isize) -> (Self, Self) {
        self.first_of(self.argsort_descending(axis), k, axis)
    }

    /// The `k` smallest elements along one axis, the smallest first, and their positions (`i32`); of
    /// equal ones those that come first.
    #[track_caller]
    pub fn topk_smallest(self, k: usize, axis: isize) -> (Self, Self) {
        self.first_of(self.argsort(axis), k, axis)
    }

    #[track_caller]
    fn first_of(self, order: Self, k: usize, axis: isize) -> (Self, Self) {
        if order.is_poisoned() {
            return (order, order);
        }
        if k > self.dim(axis) {
            let message = format!("k {k} is more than axis {axis} of {} has", self.shape());
            let failed = self.graph.fail("topk", message);
            return (failed, failed);
        }
        self.ordered(order.narrow(axis, 0, k), axis)
    }

    #[track_caller]
    fn ordered(self, order: Self, axis: isize) -> (Self, Self) {
        if order.is_poisoned() {
            return (order, order);
        }
        (self.picked(order, axis), order)
    }

    /// The median along one axis, which goes, and its position (`i32`): of an even number the lower
    /// of the two in the middle; where there is a NaN, the first of them. As in PyTorch.
    #[track_caller]
    pub fn median(self, axis: isize) -> (Self, Self) {
        let order = self.argsort(axis);
        let size = self.dim(axis);
        if order.is_poisoned() {
            return (order, order);
        }
        if size == 0 {
            let message = format!("axis {axis} of {} is empty", self.shape());
            let failed = self.graph.fail("median", message);
            return (failed, failed);
        }
        let mut index = order.narrow(axis, (size - 1) / 2, 1);
        if self.dtype() == DType::F32 {
            let nan = self.is_nan().cast(DType::I32);
            let (found, first) = (nan.max_keep(&[axis]), nan.argmax(axis).unsqueeze(axis));
            index = found.gt(0).select(first, index);
        }
        let (value, index) = self.ordered(index, axis);
        (value.squeeze(&[axis]), index.squeeze(&[axis]))
    }
}
