//! Reductions. At this level every reduced axis stays, with size 1.

use super::Meta;
use crate::{DType, Shape, Var};

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reduction {
    /// The sum; 0 of nothing.
    Sum,
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
        if self.op != Reduction::Sum && self.axes.iter().any(|&a| x.shape[a] == 0) {
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
        if self.op == Reduction::Sum {
            return dy.expand(shape);
        }
        let axes: Vec<isize> = self.axes.iter().map(|&a| a.cast_signed()).collect();
        let hit = x.eq(y.expand(shape)).cast(DType::F32);
        hit * (dy / hit.sum_keep(&axes)).expand(shape)
    }
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
