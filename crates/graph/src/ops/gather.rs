//! Rows of a table by index, the ordered sum that is its gradient, and where a row is named.

use super::sort::ordered;
use super::{Meta, Op};
use crate::{DType, Shape, Var};

/// `y[i…, r…] = x[index[i…], r…]`: `[V, r…], [i…] -> [i…, r…]`.
///
/// The index must have passed a [`Op::CheckIndex`]; [`Var::gather`] adds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather;

impl Gather {
    pub(crate) fn infer(&self, x: Meta, index: Meta) -> Result<Meta, String> {
        if x.shape.rank() == 0 {
            return Err("needs a table with at least one axis, found a scalar".into());
        }
        if !index.dtype.is_int() {
            return Err(format!("indices must be i32 or u32, found {}", index.dtype));
        }
        let dims = [&index.shape[..], &x.shape[1..]].concat();
        let shape = Shape::try_new(&dims).ok_or("the result has too many axes or elements")?;
        Ok(Meta::new(shape, x.dtype))
    }

    /// The ordered sum of `dy` into the rows of the table; see [`ScatterAdd`].
    pub(crate) fn vjp<'g>(&self, x: Var<'g>, index: Var<'g>, dy: Var<'g>) -> Var<'g> {
        dy.apply(Op::ScatterAdd(ScatterAdd { rows: x.shape()[0] }), &[index])
    }
}

/// `y[v, r…] = Σ x[i…, r…]` over the positions with `index[i…] = v`, in ascending order of
/// position: `[i…, r…], [i…] -> [rows, r…]`. Positions with `index[i…] = rows` are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterAdd {
    /// Rows of the result.
    pub rows: usize,
}

impl ScatterAdd {
    pub(crate) fn infer(&self, x: Meta, index: Meta) -> Result<Meta, String> {
        let lead = index.shape.rank();
        if x.shape.rank() < lead || x.shape[..lead] != index.shape[..] {
            return Err(format!(
                "values {} must start with the axes of the index {}",
                x.shape, index.shape
            ));
        }
        if !index.dtype.is_int() {
            return Err(format!("indices must be i32 or u32, found {}", index.dtype));
        }
        let dims = [&[self.rows], &x.shape[lead..]].concat();
        let shape = Shape::try_new(&dims).ok_or("the result has too many axes or elements")?;
        Ok(Meta::new(shape, x.dtype))
    }

    /// The rows of `dy` that each position was added to; see [`Gather`].
    pub(crate) fn vjp<'g>(&self, index: Var<'g>, dy: Var<'g>) -> Var<'g> {
        dy.apply(Op::Gather(Gather), &[index])
    }
}

/// The first position that names each row: `y[v] = min { i : index[order[i]] = v }`, or `N` if no
/// position does: `[N], [N] -> [rows]`, `i32`. Without an order, `order[i] = i`.
///
/// In the order of the indices, as [`Op::ArgSort`] gives it, those of a row follow each other: its
/// first position is where they begin, and a larger row begins at a later one.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstPosition {
    /// Rows of the result.
    pub rows: usize,
}

impl FirstPosition {
    pub(crate) fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let index = ordered(inputs)?;
        if !index.dtype.is_int() || index.shape.rank() != 1 {
            return Err(format!(
                "expected one axis of integers, found {} {}",
                index.dtype, index.shape
            ));
        }
        if i32::try_from(index.shape.numel().max(self.rows)).is_err() {
            return Err(format!(
                "{} rows of {} have more positions than i32 can count",
                self.rows, index.shape
            ));
        }
        Ok(Meta::new(Shape::of(&[self.rows]), DType::I32))
    }
}
