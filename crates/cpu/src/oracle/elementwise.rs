//! Pointwise ops. The formulas stand beside the ops; here they meet their elements.

use gradus_graph::DType;
use gradus_graph::ops::{Binary, Unary};

use super::tensor::{Float, Tensor, Values};

fn map<A: Copy, B>(x: &[A], f: impl Fn(A) -> B) -> Vec<B> {
    x.iter().map(|&x| f(x)).collect()
}

fn zip<A: Copy, B>(a: &[A], b: &[A], f: impl Fn(A, A) -> B) -> Vec<B> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

pub(super) fn unary<T: Float>(op: Unary, x: &Tensor<T>) -> Tensor<T> {
    let values = match x.values() {
        Values::Float(v) if op == Unary::IsNan => Values::Bool(map(v, T::is_nan)),
        Values::Float(v) => Values::Float(map(v, |x| op.apply(x))),
        Values::I32(v) => Values::I32(map(v, |x| op.apply_i32(x))),
        Values::U32(v) => Values::U32(map(v, |x| op.apply_u32(x))),
        // `not` is the only op that takes bool.
        Values::Bool(v) => Values::Bool(map(v, |x| !x)),
    };
    Tensor::of(x.shape(), values)
}

pub(super) fn binary<T: Float>(op: Binary, a: &Tensor<T>, b: &Tensor<T>) -> Option<Tensor<T>> {
    use Values::{Bool, Float, I32, U32};
    let values = match (a.values(), b.values()) {
        (Float(a), Float(b)) if op.is_comparison() => Bool(zip(a, b, |a, b| op.compare(a, b))),
        (I32(a), I32(b)) if op.is_comparison() => Bool(zip(a, b, |a, b| op.compare(a, b))),
        (U32(a), U32(b)) if op.is_comparison() => Bool(zip(a, b, |a, b| op.compare(a, b))),
        (Float(a), Float(b)) => Float(zip(a, b, |a, b| op.apply(a, b))),
        (I32(a), I32(b)) => I32(zip(a, b, |a, b| op.apply_i32(a, b))),
        (U32(a), U32(b)) => U32(zip(a, b, |a, b| op.apply_u32(a, b))),
        (Bool(a), Bool(b)) => Bool(zip(a, b, |a, b| op.apply_bool(a, b))),
        _ => return None,
    };
    Some(Tensor::of(a.shape(), values))
}

pub(super) fn select<T: Float>(
    condition: &Tensor<T>,
    then: &Tensor<T>,
    otherwise: &Tensor<T>,
) -> Option<Tensor<T>> {
    fn pick<A: Copy>(condition: &[bool], a: &[A], b: &[A]) -> Vec<A> {
        let pairs = a.iter().zip(b);
        let pick = |(&c, (&a, &b))| if c { a } else { b };
        condition.iter().zip(pairs).map(pick).collect()
    }
    let Values::Bool(c) = condition.values() else {
        return None;
    };
    use Values::{Bool, Float, I32, U32};
    let values = match (then.values(), otherwise.values()) {
        (Float(a), Float(b)) => Float(pick(c, a, b)),
        (I32(a), I32(b)) => I32(pick(c, a, b)),
        (U32(a), U32(b)) => U32(pick(c, a, b)),
        (Bool(a), Bool(b)) => Bool(pick(c, a, b)),
        _ => return None,
    };
    Some(Tensor::of(then.shape(), values))
}

/// Float to integer truncates and saturates, and NaN gives 0, which is what `as` does; between
/// integers the bits stay; to bool asks for ≠ 0.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "truncation and saturation are the meaning"
)]
pub(super) fn cast<T: Float>(dtype: DType, x: &Tensor<T>) -> Tensor<T> {
    let number = |x: f64| T::of(x);
    let values = match (x.values(), dtype) {
        (Values::Float(v), DType::F32) => Values::Float(v.clone()),
        (Values::Float(v), DType::I32) => Values::I32(map(v, |x| x.into() as i32)),
        (Values::Float(v), DType::U32) => Values::U32(map(v, |x| x.into() as u32)),
        (Values::Float(v), DType::Bool) => Values::Bool(map(v, |x| x != T::of(0.0))),
        (Values::I32(v), DType::F32) => Values::Float(map(v, |x| number(f64::from(x)))),
        (Values::I32(v), DType::I32) => Values::I32(v.clone()),
        (Values::I32(v), DType::U32) => Values::U32(map(v, i32::cast_unsigned)),
        (Values::I32(v), DType::Bool) => Values::Bool(map(v, |x| x != 0)),
        (Values::U32(v), DType::F32) => Values::Float(map(v, |x| number(f64::from(x)))),
        (Values::U32(v), DType::I32) => Values::I32(map(v, u32::cast_signed)),
        (Values::U32(v), DType::U32) => Values::U32(v.clone()),
        (Values::U32(v), DType::Bool) => Values::Bool(map(v, |x| x != 0)),
        (Values::Bool(v), DType::F32) => Values::Float(map(v, |x| number(f64::from(u8::from(x))))),
        (Values::Bool(v), DType::I32) => Values::I32(map(v, i32::from)),
        (Values::Bool(v), DType::U32) => Values::U32(map(v, u32::from)),
        (Values::Bool(v), DType::Bool) => Values::Bool(v.clone()),
    };
    Tensor::of(x.shape(), values)
}
