//! The maximum that max pooling takes.

use super::{Composite, Meta};
use crate::{DType, Shape, Var};

/// The largest along the last axis, which goes: `[…, K] -> […]`. The first of several has the
/// whole gradient, as in PyTorch's pooling; [`Var::max`] shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstMax;

impl Composite for FirstMax {
    fn name(&self) -> &'static str {
        "first_max"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let Some(x) = inputs.first() else {
            return Err("expected an input, found none".into());
        };
        match x.shape.split_last() {
            Some((&n, rest)) if n > 0 && x.dtype == DType::F32 => {
                Ok(Meta::new(Shape::of(rest), x.dtype))
            }
            _ => Err(format!(
                "expected f32 with at least one element in each row, found {} {}",
                x.dtype, x.shape
            )),
        }
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        x[0].max(&[-1])
    }

    /// `dy` at the first of the largest, else 0.
    fn vjp<'g>(&self, x: &[Var<'g>], y: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let shape = x[0].shape();
        let last = shape.rank() - 1;
        let column = |v: Var<'g>| v.reshape(shape.with_axis(last, 1)).expand(shape);
        let first = column(x[0].argmax(-1)).eq(y.graph().iota(shape, last));
        vec![Some(first.select(column(dy), 0.0))]
    }
}
