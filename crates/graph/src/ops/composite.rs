//! Composites: functions made of other ops, kept as one node until lowering.

use std::fmt::Debug;

use super::{Dropout, Meta};
use crate::{DType, Graph, Scalar, Var};

/// A function that stays one node, with an expansion into primitives that is its meaning.
///
/// Instances that print the same under `Debug` compute the same.
pub trait Composite: Debug + Send + Sync {
    /// The op's name in messages and plans.
    fn name(&self) -> &'static str;

    /// Shape and dtype of the result, or which values clash and what was expected.
    ///
    /// # Errors
    /// If the function is not defined for such inputs.
    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String>;

    /// The function in primitives. Inputs have passed `infer`.
    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g>;

    /// The gradients of the inputs; by default those of the expansion.
    fn vjp<'g>(&self, x: &[Var<'g>], _y: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let expanded = self.expand(x);
        crate::grad::vjp(expanded, dy, x)
    }
}

/// Softmax over the last axis, `[…, C] -> […, C]`.
///
/// ```text
/// y = exp(x − m) / Σ exp(x − m)      m = max x
/// ```
///
/// A row of all −∞ gives NaN. Source: Goodfellow, Bengio & Courville (2016), §4.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Softmax;

impl Composite for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        float_rows(inputs.first())
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        let e = (x[0] - x[0].stop_gradient().max_keep(&[-1])).exp();
        e / e.sum_keep(&[-1])
    }

    /// `dx = y ⊙ (dy − Σ dy ⊙ y)`
    fn vjp<'g>(&self, _: &[Var<'g>], y: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        vec![Some(y * (dy - (dy * y).sum_keep(&[-1])))]
    }
}

/// Logarithm of softmax over the last axis, `[…, C] -> […, C]`.
///
/// ```text
/// y = x − m − ln Σ exp(x − m)      m = max x
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSoftmax;

impl Composite for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        float_rows(inputs.first())
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        let centered = x[0] - x[0].stop_gradient().max_keep(&[-1]);
        centered - centered.exp().sum_keep(&[-1]).log()
    }

    /// `dx = dy − softmax(x) · Σ dy`
    fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        vec![Some(dy - x[0].softmax() * dy.sum_keep(&[-1]))]
    }
}

/// Cross-entropy of class scores with class labels, row by row: `[…, C], […] -> […]`.
///
/// ```text
/// y = ln Σ exp(x − m) − (x[label] − m)      m = max x
/// ```
///
/// Labels are `i32` or `u32` in `0..C`; another label is an error of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossEntropy;

impl CrossEntropy {
    /// 1 at each row's label, else 0: `[…, C]`.
    fn one_hot<'g>(logits: Var<'g>, labels: Var<'g>) -> Var<'g> {
        let shape = logits.shape();
        let axis = shape.rank() - 1;
        let bound = u32::try_from(shape.last_dim()).unwrap_or(u32::MAX);
        let labels = labels.check_index(bound).cast(DType::I32);
        let labels = labels.reshape(shape.with_axis(axis, 1)).expand(shape);
        logits.graph().iota(shape, axis).eq(labels)
    }
}

impl Composite for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let logits = float_rows(inputs.first())?;
        let Some(labels) = inputs.get(1) else {
            return Err("expected logits and labels".into());
        };
        if !labels.dtype.is_int() {
            return Err(format!("labels must be i32 or u32, found {}", labels.dtype));
        }
        let rows = &logits.shape[..logits.shape.rank() - 1];
        if labels.shape[..] != *rows {
            return Err(format!(
                "logits {} need labels {rows:?}, found {}",
                logits.shape, labels.shape
            ));
        }
        if logits.shape.last_dim() == 0 {
            return Err(format!("logits {} have no classes", logits.shape));
        }
        Ok(Meta::new(labels.shape, DType::F32))
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        let (logits, labels) = (x[0], x[1]);
        let centered = logits - logits.stop_gradient().max_keep(&[-1]);
        let picked = Self::one_hot(logits, labels)
            .select(centered, 0.0)
            .sum_keep(&[-1]);
        (centered.exp().sum_keep(&[-1]).log() - picked).reshape(labels.shape())
    }

    /// `dx = (softmax(x) − one_hot(label)) · dy`
    fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let (logits, labels) = (x[0], x[1]);
        let shape = logits.shape();
        let hot = Self::one_hot(logits, labels).cast(DType::F32);
        let dy = dy.reshape(shape.with_axis(shape.rank() - 1, 1));
        vec![Some((logits.softmax() - hot) * dy), None]
    }
}

fn float_rows(x: Option<&Meta>) -> Result<Meta, String> {
    let Some(x) = x else {
        return Err("expected an input, found none".into());
    };
    if x.dtype != DType::F32 {
        return Err(format!("expected f32, found {}", x.dtype));
    }
    if x.shape.rank() == 0 {
        return Err("expected at least one axis, found a scalar".into());
    }
    Ok(*x)
}

/// Scales what survives so that the mean stays: `y = keep ? x / (1 − rate) : 0`.
///
/// The mask is recomputed from its counter wherever it is needed, never stored.
/// Source: Srivastava et al. (2014).
pub(crate) fn dropout<'g>(graph: &'g Graph, stream: u64, x: Var<'g>, rate: f64) -> Var<'g> {
    let dropout = Dropout { stream, rate };
    let bits = graph.random(x.shape(), stream) >> 8u32;
    let keep = bits.cast(DType::F32).ge(dropout.threshold());
    keep.select(x * dropout.scale(), Scalar::F32(0.0))
}
