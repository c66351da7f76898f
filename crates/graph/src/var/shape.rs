//! Views by name: what splits, joins, turns and repeats. Negative axes count from the end.

use std::ops::{Bound, RangeBounds};

use super::Var;
use crate::ops::{Concat, Flip, Op};
use crate::{Scalar, Shape};

impl<'g> Var<'g> {
    /// The range `start..stop` of one axis.
    #[track_caller]
    pub fn slice_axis(self, axis: usize, start: usize, stop: usize) -> Self {
        let rank = self.rank();
        if axis >= rank {
            return self
                .graph
                .fail("slice", format!("{} has no axis {axis}", self.shape()));
        }
        let (mut starts, mut stops) = (vec![0; rank], self.shape().to_vec());
        (starts[axis], stops[axis]) = (start, stop);
        self.slice(&starts, &stops, &vec![1; rank])
    }

    /// `length` positions of one axis, from `start` on.
    #[track_caller]
    pub fn narrow(self, axis: isize, start: usize, length: usize) -> Self {
        let Some(axis) = self.named_axis("narrow", axis) else {
            return self.poison();
        };
        match start
            .checked_add(length)
            .filter(|&s| s <= self.shape()[axis])
        {
            Some(stop) => self.slice_axis(axis, start, stop),
            None => {
                let shape = self.shape();
                let message = format!("{length} from {start} is not inside axis {axis} of {shape}");
                self.graph.fail("narrow", message)
            }
        }
    }

    /// Every `step`-th position of a range of one axis. A negative step walks the range from its last
    /// position: `slice_step(0, .., -1)` reverses, `slice_step(0, 1..8, -3)` takes 7, 4 and 1.
    #[track_caller]
    pub fn slice_step(self, axis: isize, range: impl RangeBounds<usize>, step: isize) -> Self {
        let Some(axis) = self.named_axis("slice", axis) else {
            return self.poison();
        };
        let size = self.shape()[axis];
        let start = match range.start_bound() {
            Bound::Included(&at) => Some(at),
            Bound::Excluded(&at) => at.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let stop = match range.end_bound() {
            Bound::Included(&at) => at.checked_add(1),
            Bound::Excluded(&at) => Some(at),
            Bound::Unbounded => Some(size),
        };
        let inside = |&(start, stop): &(usize, usize)| start <= stop && stop <= size && step != 0;
        let Some((start, stop)) = start.zip(stop).filter(inside) else {
            let bounds = (range.start_bound(), range.end_bound());
            let message = format!(
                "range {bounds:?} step {step} is not inside axis {axis} of {}",
                self.shape()
            );
            return self.graph.fail("slice", message);
        };
        let stride = step.unsigned_abs();
        // From the end, the first position is the one that the last step reaches.
        let start = match step < 0 && stop > start {
            true => start + (stop - 1 - start) % stride,
            false => start,
        };
        let rank = self.rank();
        let (mut starts, mut stops) = (vec![0; rank], self.shape().to_vec());
        let mut steps = vec![1; rank];
        (starts[axis], stops[axis], steps[axis]) = (start, stop, stride);
        let taken = self.slice(&starts, &stops, &steps);
        match step < 0 {
            true => taken.flip(&[axis.cast_signed()]),
            false => taken,
        }
    }

    /// Joins this and others along one axis.
    #[track_caller]
    pub fn concat(self, others: &[Self], axis: isize) -> Self {
        match self.named_axis("concat", axis) {
            Some(axis) => self.apply(Op::Concat(Concat { axis }), others),
            None => self.poison(),
        }
    }

    /// Joins this and others of the same shape along a new axis: `n` times `[a, b]` along axis 1
    /// give `[a, n, b]`.
    #[track_caller]
    pub fn stack(self, others: &[Self], axis: isize) -> Self {
        let all = std::iter::once(&self).chain(others);
        if let Some(other) = all.clone().find(|v| v.shape() != self.shape()) {
            if other.is_poisoned() || self.is_poisoned() {
                return self.poison();
            }
            let message = format!("shapes {} and {} differ", self.shape(), other.shape());
            return self.graph.fail("stack", message);
        }
        let first = self.new_axis("stack", axis);
        if first.is_poisoned() {
            return first;
        }
        let rest: Vec<Self> = others.iter().map(|v| v.reshape(first.shape())).collect();
        let rank = first.rank().cast_signed();
        first.concat(&rest, if axis < 0 { axis + rank } else { axis })
    }

    /// A new axis of size 1, which becomes axis `axis` of the result.
    #[track_caller]
    pub fn unsqueeze(self, axis: isize) -> Self {
        self.new_axis("unsqueeze", axis)
    }

    #[track_caller]
    fn new_axis(self, op: &'static str, axis: isize) -> Self {
        if self.is_poisoned() {
            return self;
        }
        let longer = Shape::try_new(&vec![1; self.rank() + 1]);
        match longer.and_then(|shape| shape.axis(axis)) {
            Some(axis) => {
                let mut dims = self.shape().to_vec();
                dims.insert(axis, 1);
                self.reshape(dims)
            }
            None => {
                let message = format!("{} has no place for a new axis {axis}", self.shape());
                self.graph.fail(op, message)
            }
        }
    }

    /// Removes axes of size 1.
    #[track_caller]
    pub fn squeeze(self, axes: &[isize]) -> Self {
        let Some(list) = self.named_axes("squeeze", axes) else {
            return self.poison();
        };
        if let Some(axis) = list.iter().find(|&&a| self.shape()[a] != 1) {
            let message = format!("axis {axis} of {} is not of size 1", self.shape());
            return self.graph.fail("squeeze", message);
        }
        self.squeeze_reduced(axes, self.shape())
    }

    /// Parts of these sizes along one axis; together they are the axis.
    #[track_caller]
    pub fn split(self, sizes: &[usize], axis: isize) -> Vec<Self> {
        let failed = vec![self.poison(); sizes.len().max(1)];
        let Some(axis) = self.named_axis("split", axis) else {
            return failed;
        };
        let total = sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
        if total != Some(self.shape()[axis]) || sizes.is_empty() {
            let shape = self.shape();
            let message = format!("sizes {sizes:?} do not add up to axis {axis} of {shape}");
            self.graph.fail("split", message);
            return failed;
        }
        let starts = sizes.iter().scan(0, |next, &n| {
            *next += n;
            Some(*next - n)
        });
        let part = |(start, n): (usize, &usize)| self.slice_axis(axis, start, start + n);
        starts.zip(sizes).map(part).collect()
    }

    /// At most `count` parts of one axis, all but the last of size `⌈size / count⌉`, as PyTorch cuts:
    /// 13 in 6 are five parts, of 3, 3, 3, 3 and 1.
    #[track_caller]
    pub fn chunk(self, count: usize, axis: isize) -> Vec<Self> {
        let Some(number) = self.named_axis("chunk", axis) else {
            return vec![self.poison(); count.max(1)];
        };
        if count == 0 {
            let message = "expected at least 1 part, found 0".to_string();
            return vec![self.graph.fail("chunk", message)];
        }
        let size = self.shape()[number];
        let each = size.div_ceil(count).max(1);
        let mut sizes = vec![each; size / each];
        if !size.is_multiple_of(each) || size == 0 {
            sizes.push(size % each);
        }
        self.split(&sizes, axis)
    }

    /// The positions of one axis, each without it; none if the axis is empty.
    #[track_caller]
    pub fn unbind(self, axis: isize) -> Vec<Self> {
        let Some(number) = self.named_axis("unbind", axis) else {
            return vec![self.poison()];
        };
        let part = |i| self.slice_axis(number, i, i + 1).squeeze(&[axis]);
        (0..self.shape()[number]).map(part).collect()
    }

    /// Axis `from[i]` becomes axis `to[i]`; the others keep their order.
    #[track_caller]
    pub fn movedim(self, from: &[isize], to: &[isize]) -> Self {
        let lists = self
            .named_axes("movedim", from)
            .zip(self.named_axes("movedim", to));
        if lists.is_none() {
            return self.poison();
        }
        if from.len() != to.len() {
            let message = format!("{from:?} and {to:?} name different numbers of axes");
            return self.graph.fail("movedim", message);
        }
        let place = |axis: &isize| self.shape().axis(*axis);
        let moved: Vec<usize> = from.iter().filter_map(place).collect();
        let mut rest = (0..self.rank()).filter(|a| !moved.contains(a));
        let order = (0..self.rank()).filter_map(|axis| {
            let named = to.iter().position(|t| place(t) == Some(axis));
            named.map_or_else(|| rest.next(), |i| moved.get(i).copied())
        });
        self.permute(&order.collect::<Vec<_>>())
    }

    /// Swaps two axes.
    #[track_caller]
    pub fn swap_axes(self, a: isize, b: isize) -> Self {
        let axes = self
            .named_axis("swap_axes", a)
            .zip(self.named_axis("swap_axes", b));
        let Some((a, b)) = axes else {
            return self.poison();
        };
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// Reverses these axes.
    #[track_caller]
    pub fn flip(self, axes: &[isize]) -> Self {
        match self.named_axes("flip", axes) {
            Some(axes) if axes.is_empty() => self,
            Some(axes) => self.apply(Op::Flip(Flip { axes }), &[]),
            None => self.poison(),
        }
    }

    /// Moves elements by so many positions along each of these axes; what leaves at the end comes in
    /// at the start.
    #[track_caller]
    pub fn roll(self, shifts: &[isize], axes: &[isize]) -> Self {
        if self.named_axes("roll", axes).is_none() {
            return self.poison();
        }
        if shifts.len() != axes.len() {
            let message = format!("shifts {shifts:?} for axes {axes:?}");
            return self.graph.fail("roll", message);
        }
        let mut rolled = self;
        for (&shift, &axis) in shifts.iter().zip(axes) {
            let Some(number) = self.shape().axis(axis) else {
                continue;
            };
            let size = self.shape()[number];
            let shift = shift.rem_euclid(size.max(1).cast_signed()).unsigned_abs();
            if shift > 0 {
                let end = rolled.slice_axis(number, size - shift, size);
                rolled = end.concat(&[rolled.slice_axis(number, 0, size - shift)], axis);
            }
        }
        rolled
    }

    /// The whole repeated so often along each axis, as PyTorch's `repeat`: more counts than axes make
    /// new axes in front.
    #[track_caller]
    pub fn repeat(self, counts: &[usize]) -> Self {
        if counts.len() < self.rank() && !self.is_poisoned() {
            let message = format!(
                "needs a count for each axis of {}, found {counts:?}",
                self.shape()
            );
            return self.graph.fail("repeat", message);
        }
        self.tile(counts)
    }

    /// The whole repeated so often along each axis, as NumPy's `tile`: missing counts in front are 1,
    /// more counts than axes make new axes in front.
    #[track_caller]
    pub fn tile(self, counts: &[usize]) -> Self {
        if self.is_poisoned() {
            return self;
        }
        let rank = counts.len().max(self.rank());
        let padded = |list: &[usize]| [&vec![1; rank - list.len()][..], list].concat();
        let (mut dims, counts) = (padded(&self.shape()), padded(counts));
        let tiled: Option<Vec<usize>> = dims
            .iter()
            .zip(&counts)
            .map(|(d, c)| d.checked_mul(*c))
            .collect();
        if tiled.and_then(|t| Shape::try_new(&t)).is_none() {
            let message = format!("{} repeated {counts:?} times is too large", self.shape());
            return self.graph.fail("tile", message);
        }
        let mut tiled = self;
        for (axis, &count) in counts.iter().enumerate().filter(|(_, c)| **c != 1) {
            let outer = dims[..axis].iter().product();
            let inner = dims[axis..].iter().product();
            dims[axis] *= count;
            tiled = tiled
                .reshape([outer, 1, inner])
                .expand([outer, count, inner]);
        }
        tiled.reshape(dims)
    }

    /// Every position of one axis repeated: `counts` has one number for all, or one for each
    /// position.
    #[track_caller]
    pub fn repeat_interleave(self, counts: &[usize], axis: isize) -> Self {
        let Some(number) = self.named_axis("repeat_interleave", axis) else {
            return self.poison();
        };
        let size = self.shape()[number];
        let total = match *counts {
            [count] => size.checked_mul(count),
            _ if counts.len() == size => counts.iter().try_fold(0usize, |s, &n| s.checked_add(n)),
            _ => {
                let (found, shape) = (counts.len(), self.shape());
                let message = format!("{found} counts for axis {number} of {shape}");
                return self.graph.fail("repeat_interleave", message);
            }
        };
        let long = total.filter(|&n| i32::try_from(n).is_ok());
        let shape = long.and_then(|n| Shape::try_new(&self.shape().with_axis(number, n)));
        let Some(shape) = shape else {
            let message = format!("{} becomes too large", self.shape());
            return self.graph.fail("repeat_interleave", message);
        };
        if let [count] = *counts {
            let outer = self.shape()[..=number].iter().product();
            let inner = self.shape()[number + 1..].iter().product();
            let repeated = self
                .reshape([outer, 1, inner])
                .expand([outer, count, inner]);
            return repeated.reshape(shape);
        }
        let positions = (0i32..).zip(counts).flat_map(|(i, &n)| vec![i; n]);
        let index = crate::Array::vector(positions.collect::<Vec<i32>>());
        self.index_select(self.graph.literal(index), axis)
    }

    /// The diagonal of two axes, `offset` places above the main one (below, if negative), as a last
    /// axis; the two axes go.
    #[track_caller]
    pub fn diagonal(self, offset: isize, axis1: isize, axis2: isize) -> Self {
        if self.named_axes("diagonal", &[axis1, axis2]).is_none() {
            return self.poison();
        }
        let last = self.movedim(&[axis1, axis2], &[-2, -1]);
        let (rows, cols) = (last.dim(-2), last.dim(-1));
        let away = offset.unsigned_abs();
        let (start, length) = match offset < 0 {
            false => (away, rows.min(cols.saturating_sub(away))),
            true => (
                away.saturating_mul(cols),
                cols.min(rows.saturating_sub(away)),
            ),
        };
        let flat = last.flatten(last.rank() - 2);
        let rank = flat.rank();
        let (mut starts, mut stops) = (vec![0; rank], flat.shape().to_vec());
        let mut steps = vec![1; rank];
        (starts[rank - 1], stops[rank - 1]) = match length {
            0 => (0, 0),
            _ => (start, start + (length - 1) * (cols + 1) + 1),
        };
        steps[rank - 1] = cols + 1;
        flat.slice(&starts, &stops, &steps)
    }

    /// The lower triangle of the last two axes: 0 more than `diagonal` places above the main one.
    #[track_caller]
    pub fn tril(self, diagonal: i32) -> Self {
        self.triangle("tril", |above| above.le(diagonal))
    }

    /// The upper triangle of the last two axes: 0 less than `diagonal` places above the main one.
    #[track_caller]
    pub fn triu(self, diagonal: i32) -> Self {
        self.triangle("triu", |above| above.ge(diagonal))
    }

    /// Keeps the elements whose number of places above the main diagonal passes.
    #[track_caller]
    fn triangle(self, op: &'static str, keep: impl Fn(Self) -> Self) -> Self {
        if self.is_poisoned() {
            return self;
        }
        let (shape, rank) = (self.shape(), self.rank());
        if rank < 2 {
            let message = format!("{shape} has fewer than 2 axes");
            return self.graph.fail(op, message);
        }
        let matrix = Shape::of(&shape[rank - 2..]);
        let above = self.graph.iota(matrix, 1) - self.graph.iota(matrix, 0);
        keep(above).select(self, Scalar::zero(self.dtype()))
    }
}
