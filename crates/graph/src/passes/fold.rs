//! Pointwise ops of constants are constants.

use crate::ops::Op;
use crate::{DType, Scalar};

/// The constant that a pointwise op makes of constants, if it is one of those.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts saturate"
)]
pub(super) fn fold(op: &Op, inputs: &[Scalar]) -> Option<Scalar> {
    use Scalar::{Bool, F32, I32, U32};
    let value = match (op, inputs) {
        (Op::Unary(u), &[F32(x)]) => match u.apply(x) {
            v if *u == crate::ops::Unary::IsNan => Bool(v != 0.0),
            v => F32(v),
        },
        (Op::Unary(u), &[I32(x)]) => I32(u.apply_i32(x)),
        (Op::Unary(u), &[U32(x)]) => U32(u.apply_u32(x)),
        (Op::Unary(_), &[Bool(x)]) => Bool(!x),
        (Op::Binary(b), &[x, y]) if b.is_comparison() => Bool(match (x, y) {
            (F32(x), F32(y)) => b.compare(x, y),
            (I32(x), I32(y)) => b.compare(x, y),
            (U32(x), U32(y)) => b.compare(x, y),
            (Bool(x), Bool(y)) => b.compare(x, y),
            _ => return None,
        }),
        (Op::Binary(b), &[F32(x), F32(y)]) => F32(b.apply(x, y)),
        (Op::Binary(b), &[I32(x), I32(y)]) => I32(b.apply_i32(x, y)),
        (Op::Binary(b), &[U32(x), U32(y)]) => U32(b.apply_u32(x, y)),
        (Op::Binary(b), &[Bool(x), Bool(y)]) => Bool(b.apply_bool(x, y)),
        (Op::Select, &[Bool(c), x, y]) => {
            if c {
                x
            } else {
                y
            }
        }
        (Op::Cast(to), &[x]) => match (x, to) {
            (F32(v), DType::I32) => I32(v as i32),
            (F32(v), DType::U32) => U32(v as u32),
            (F32(v), DType::Bool) => Bool(v != 0.0),
            (F32(v), DType::F32) => F32(v),
            (I32(v), DType::F32) => F32(f64::from(v)),
            (I32(v), DType::U32) => U32(v as u32),
            (I32(v), DType::Bool) => Bool(v != 0),
            (I32(v), DType::I32) => I32(v),
            (U32(v), DType::F32) => F32(f64::from(v)),
            (U32(v), DType::I32) => I32(v as i32),
            (U32(v), DType::Bool) => Bool(v != 0),
            (U32(v), DType::U32) => U32(v),
            (Bool(v), DType::F32) => F32(f64::from(u8::from(v))),
            (Bool(v), DType::I32) => I32(i32::from(v)),
            (Bool(v), DType::U32) => U32(u32::from(v)),
            (Bool(v), DType::Bool) => Bool(v),
        },
        _ => return None,
    };
    Some(value)
}
