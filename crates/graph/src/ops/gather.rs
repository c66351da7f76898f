//! Rows of a table by index, and the ordered sum that is its gradient.

use super::{Meta, Op};
use crate::{Shape, Var};

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
