//! Running results along one axis.

use super::{Meta, Op};
use crate::{DType, Scalar, Shape, Var};

/// How a running result takes in the next element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scanning {
    /// `yᵢ = yᵢ₋₁ + xᵢ`
    Sum,
    /// `yᵢ = yᵢ₋₁ · xᵢ`
    Prod,
    /// `yᵢ = max(yᵢ₋₁, xᵢ)`; no gradient.
    Max,
    /// `yᵢ = aᵢ · yᵢ₋₁ + xᵢ`, of the inputs `a` and `x`; `a₀` counts for nothing.
    Linear,
}

impl Scanning {
    /// The op's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "cumsum",
            Self::Prod => "cumprod",
            Self::Max => "cummax",
            Self::Linear => "linear_scan",
        }
    }
}

/// Running results along one axis, from its start or from its end: `[x]`, or `[a, x]` for
/// [`Scanning::Linear`], all of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// How.
    pub op: Scanning,
    /// The axis.
    pub axis: usize,
    /// From the end: "previous" is the next position.
    pub reverse: bool,
}

impl Scan {
    pub(crate) fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let wanted = if self.op == Scanning::Linear { 2 } else { 1 };
        let x = match inputs {
            [.., x] if inputs.len() == wanted => *x,
            _ => return Err(format!("expected {wanted} inputs, found {}", inputs.len())),
        };
        if let Some(other) = inputs.iter().find(|m| **m != x) {
            let (a, b) = (other, x);
            return Err(format!(
                "expected one dtype and shape, found {} {} and {} {}",
                a.dtype, a.shape, b.dtype, b.shape
            ));
        }
        if x.dtype == DType::Bool {
            return Err("expected numbers, found bool; cast it".into());
        }
        if self.axis >= x.shape.rank() {
            return Err(format!("{} has no axis {}", x.shape, self.axis));
        }
        Ok(x)
    }

    /// The same from the other end.
    fn back<'g>(&self, op: Scanning, inputs: &[Var<'g>]) -> Option<Var<'g>> {
        let back = Self {
            op,
            axis: self.axis,
            reverse: !self.reverse,
        };
        let (first, more) = inputs.split_first()?;
        Some(first.apply(Op::Scan(back), more))
    }

    /// What each position follows: `fill`, then all but the last.
    fn previous<'g>(&self, x: Var<'g>, fill: f64) -> Var<'g> {
        shifted(x, self.axis, self.reverse, fill)
    }

    /// With `s` for the sum of what a position contributes to later results,
    /// `sᵢ = dyᵢ + aᵢ₊₁ · sᵢ₊₁`: a scan from the other end, which divides by nothing.
    pub(crate) fn vjp<'g>(&self, x: &[Var<'g>], y: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        // What a position is multiplied by to become part of the next.
        let ahead = |a: Var<'g>| shifted(a, self.axis, !self.reverse, 0.0);
        match (self.op, x) {
            (Scanning::Sum, _) => vec![self.back(Scanning::Sum, &[dy])],
            (Scanning::Prod, &[x]) => {
                let s = self.back(Scanning::Linear, &[ahead(x), dy]);
                vec![s.map(|s| s * self.previous(y, 1.0))]
            }
            (Scanning::Linear, &[a, _]) => {
                let s = self.back(Scanning::Linear, &[ahead(a), dy]);
                vec![s.map(|s| s * self.previous(y, 0.0)), s]
            }
            _ => vec![None; x.len()],
        }
    }
}

/// Moves elements one place on along an axis, or one place back; what comes in is `fill`.
pub(crate) fn shifted<'g>(x: Var<'g>, axis: usize, back: bool, fill: impl Into<Scalar>) -> Var<'g> {
    let (rank, size) = (x.rank(), x.shape()[axis]);
    if size == 0 {
        return x;
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    let kept = if back {
        after[axis] = 1;
        x.slice_axis(axis, 1, size)
    } else {
        before[axis] = 1;
        x.slice_axis(axis, 0, size - 1)
    };
    kept.pad(&before, &after, fill)
}

/// Elements before, along and after an axis.
pub(crate) fn around(shape: &Shape, axis: usize) -> [usize; 3] {
    let outer = shape.iter().take(axis).product();
    let inner = shape.iter().skip(axis + 1).product();
    [outer, shape.get(axis).copied().unwrap_or(1), inner]
}
