//! Some rows of each sample written over.

use super::{Meta, Op};
use crate::{DType, Var};

/// `x` `[B, S, r…]` with `new` `[B, T, r…]` at `start` (`i32` `[B]`), for each sample its own:
///
/// ```text
/// y[b, start[b] + t, r…] = new[b, t, r…]      y = x elsewhere
/// ```
///
/// Rows that would lie outside are left out. Where nothing else reads `x` any more, its memory
/// becomes `y`'s, and only the new rows are written.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceUpdate;

impl SliceUpdate {
    pub(crate) fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let &[x, new, start] = inputs else {
            return Err(format!("expected 3 inputs, found {}", inputs.len()));
        };
        let rank = x.shape.rank();
        let fits = rank >= 2
            && new.shape.rank() == rank
            && new.dtype == x.dtype
            && (0..rank).all(|axis| axis == 1 || new.shape[axis] == x.shape[axis]);
        if !fits {
            return Err(format!(
                "rows {} {} do not fit {} {}: all axes but the second must agree",
                new.dtype, new.shape, x.dtype, x.shape
            ));
        }
        if start.dtype != DType::I32 || start.shape[..] != x.shape[..1] {
            return Err(format!(
                "starts must be i32 [{}], found {} {}",
                x.shape[0], start.dtype, start.shape
            ));
        }
        Ok(x)
    }

    /// Of `x`: `dy` with 0 in place of the rows that were written over; of `new`: those rows of `dy`.
    pub(crate) fn vjp<'g>(&self, new: Var<'g>, start: Var<'g>, dy: Var<'g>) -> [Var<'g>; 2] {
        let zeros = dy.graph().full(new.shape(), 0.0);
        let dx = dy.apply(Op::SliceUpdate(Self), &[zeros, start]);
        [dx, dy.slices(start, new.shape()[1])]
    }
}

impl<'g> Var<'g> {
    /// This `[B, S, r…]` with other rows `[B, T, r…]` from `start` (`i32` `[B]`) on, for each sample
    /// its own; rows that would lie outside are left out. As JAX's `dynamic_update_slice`, which
    /// moves such rows inside. See [`SliceUpdate`].
    #[track_caller]
    pub fn slice_update(self, new: Self, start: Self) -> Self {
        let y = self.apply(Op::SliceUpdate(SliceUpdate), &[new, start]);
        let is_empty = !y.is_poisoned() && new.shape()[1] == 0;
        if is_empty { self } else { y }
    }

    /// The rows `start..start + length` of each sample; 0 outside.
    fn slices(self, start: Self, length: usize) -> Self {
        let (shape, graph) = (self.shape(), self.graph());
        let size = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let (batch, rows) = (shape[0], shape[1]);
        let of = |axis| graph.iota([batch, length], axis);
        let row = of(1) + start.reshape([batch, 1]);
        let inside = row.ge(0).and(row.lt(size(rows)));
        let flat = inside.select(of(0) * size(rows) + row, 0);
        let all = self.reshape([&[batch * rows], &shape[2..]].concat());
        let taken = all.apply(Op::Gather(super::Gather), &[flat]);
        let mut dims = vec![1; shape.rank()];
        dims[..2].copy_from_slice(&[batch, length]);
        inside.reshape(dims).select(taken, 0.0)
    }
}
