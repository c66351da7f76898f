//! Reductions. At this level every reduced axis stays, with size 1.

use super::Meta;
use crate::{DType, Shape, Var};

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reduction {
    /// The sum; 0 of nothing.
    Sum,
    /// The product; 1 of nothing.
    Prod,
    /// The largest; of nothing an error.
    Max,
    /// The smallest; of nothing an error.
    Min,
}

impl Reduction {
    /// The op's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Prod => "prod",
            Self::Max => "max",
            Self::Min => "min",
        }
    }
}

/// Reduces axes to size 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// How.
    pub op: Reduction,
    /// The axes, ascending.
    pub axes: Vec<usize>,
}

impl Reduce {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        if x.dtype == DType::Bool {
            return Err("expected numbers, found bool; cast it".into());
        }
        let shape = reduced(&x.shape, &self.axes)?;
        let is_extreme = matches!(self.op, Reduction::Max | Reduction::Min);
        if is_extreme && self.axes.iter().any(|&a| x.shape[a] == 0) {
            return Err(format!(
                "{} of an empty axis of {} is undefined",
                self.op.name(),
                x.shape
            ));
        }
        Ok(Meta::new(shape, x.dtype))
    }

    /// Ties of max and min share the gradient evenly, as PyTorch's `amax` does.
    pub(crate) fn vjp<'g>(&self, x: Var<'g>, y: Var<'g>, dy: Var<'g>) -> Var<'g> {
        let shape = x.shape();
        let axes: Vec<isize> = self.axes.iter().map(|&a| a.cast_signed()).collect();
        match self.op {
            Reduction::Sum => return dy.expand(shape),
            Reduction::Prod => return dy.expand(shape) * product_of_others(x, y, &axes),
            Reduction::Max | Reduction::Min => {}
        }
        let hit = x.eq(y.expand(shape)).cast(DType::F32);
        hit * (dy / hit.sum_keep(&axes)).expand(shape)
    }
}

/// For each element the product of all others: `y / x` without zeros; the product of all but
/// the zero at the only zero; else 0.
fn product_of_others<'g>(x: Var<'g>, y: Var<'g>, axes: &[isize]) -> Var<'g> {
    let zero = x.eq(0.0);
    let zeros = zero.cast(DType::F32).sum_keep(axes).expand(x.shape());
    let filled = zero.select(1.0, x);
    let only = zero.and(zeros.eq(1.0));
    only.select(
        filled.prod_keep(axes).expand(x.shape()),
        zeros.eq(0.0).select(y.expand(x.shape()) / filled, 0.0),
    )
}

/// The first position of an extreme along one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgReduce {
    /// [`Reduction::Max`] or [`Reduction::Min`].
    pub op: Reduction,
    /// The axis.
    pub axis: usize,
}

impl ArgReduce {
    /// The op's name.
    pub const fn name(&self) -> &'static str {
        match self.op {
            Reduction::Min => "argmin",
            _ => "argmax",
        }
    }

    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        if x.dtype == DType::Bool {
            return Err("expected numbers, found bool; cast it".into());
        }
        let shape = reduced(&x.shape, &[self.axis])?;
        if x.shape[self.axis] == 0 {
            return Err(format!(
                "{} of the empty axis {} of {}",
                self.name(),
                self.axis,
                x.shape
            ));
        }
        Ok(Meta::new(shape, DType::I32))
    }
}

fn reduced(shape: &Shape, axes: &[usize]) -> Result<Shape, String> {
    let mut out = *shape;
    for &axis in axes {
        if axis >= shape.rank() {
            return Err(format!("{shape} has no axis {axis}"));
        }
        out = out.with_axis(axis, 1);
    }
    Ok(out)
}
