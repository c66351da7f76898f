//! What may stand on the other side of an operation: a `Var` or a number.

use super::Var;
use crate::{DType, Scalar};

/// A `Var` or a number, as the other side of an operation.
pub trait Operand<'g> {
    /// As a `Var` of `like`'s graph; a number takes `like`'s dtype where it can.
    fn operand(self, like: Var<'g>) -> Var<'g>;
}

impl<'g> Operand<'g> for Var<'g> {
    fn operand(self, _: Var<'g>) -> Var<'g> {
        self
    }
}

macro_rules! number_operand {
    ($($t:ty),*) => {$(
        impl<'g> Operand<'g> for $t {
            fn operand(self, like: Var<'g>) -> Var<'g> {
                like.graph.scalar(convert(Scalar::from(self), like.dtype()))
            }
        }
    )*};
}

number_operand!(f32, f64, i32, u32, bool, Scalar);

/// A literal takes the dtype of its partner where no value is lost.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be exact"
)]
pub(super) fn convert(value: Scalar, dtype: DType) -> Scalar {
    match (value, dtype) {
        (Scalar::I32(v), DType::F32) => Scalar::F32(f64::from(v)),
        (Scalar::U32(v), DType::F32) => Scalar::F32(f64::from(v)),
        (Scalar::I32(v), DType::U32) => u32::try_from(v).map_or(value, Scalar::U32),
        (Scalar::U32(v), DType::I32) => i32::try_from(v).map_or(value, Scalar::I32),
        (Scalar::F32(v), DType::I32) if f64::from(v as i32) == v => Scalar::I32(v as i32),
        (Scalar::F32(v), DType::U32) if f64::from(v as u32) == v => Scalar::U32(v as u32),
        _ => value,
    }
}

/// The last argument of [`Var::select`]: decides the dtype of number literals together with the
/// middle one.
pub trait Select<'g>: Operand<'g> + Sized {
    /// Both branches as `Var`s; a number takes the dtype of a `Var` on the other side, and `f32`
    /// if both are numbers.
    fn pair(self, condition: Var<'g>, then: impl Operand<'g>) -> (Var<'g>, Var<'g>) {
        // A bool partner converts no number, so each side keeps its own dtype here.
        let otherwise = self.operand(condition);
        let then = then.operand(otherwise);
        (then, otherwise)
    }
}

impl<'g> Select<'g> for Var<'g> {}

macro_rules! number_select {
    ($($t:ty),*) => {$(
        impl<'g> Select<'g> for $t {
            fn pair(self, condition: Var<'g>, then: impl Operand<'g>) -> (Var<'g>, Var<'g>) {
                let then = then.operand(condition);
                (then, self.operand(then))
            }
        }
    )*};
}

number_select!(f32, f64, i32, u32, bool, Scalar);
