//! Losses: how far predictions are from targets.

#[macro_use]
mod labels;
mod bce;
mod cross_entropy;
mod focal;
mod mse;

use std::fmt::Debug;

use gradus_graph::{Graph, Scope, Shape, Var};

pub use bce::BceWithLogits;
pub use cross_entropy::{CrossEntropy, Nll};
pub use focal::{BinaryFocal, Focal};
pub use mse::Mse;

/// A measure of how far predictions are from targets, to be minimized.
pub trait Loss: Debug + Send + Sync {
    /// The loss of a batch: an `f32` scalar, best of the form `scale · Σ` of a vector, which a
    /// step reports without a dispatch of its own (see [`Reduction::of`]).
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g>;

    /// Predictions as probabilities, of the same shape; `None` if they are not of that kind.
    fn probabilities<'g>(&self, _prediction: Var<'g>) -> Option<Var<'g>> {
        None
    }

    /// Predictions as classes, `i32`; `None` if they are not of that kind.
    fn classes<'g>(&self, _prediction: Var<'g>) -> Option<Var<'g>> {
        None
    }

    /// One past the largest label that a prediction of this shape can be compared with; `None`
    /// if targets are not labels.
    fn label_bound(&self, _prediction: &Shape) -> Option<usize> {
        None
    }
}

/// How the losses of single elements become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl Reduction {
    /// The mean or sum of the losses of single elements, `[B, …] -> []`.
    ///
    /// Axes after the first are summed first: a step then reports one number a sample.
    #[track_caller]
    pub fn of(self, elements: Var<'_>) -> Var<'_> {
        let rest: Vec<isize> = (1..elements.rank()).map(usize::cast_signed).collect();
        let count = elements.shape().numel();
        let total = elements.sum(&rest).sum_all();
        match self {
            Self::Mean => total * (1.0 / count as f64),
            Self::Sum => total,
        }
    }
}

/// True if both have the same shape and are `f32`; otherwise the mistake is recorded.
#[track_caller]
fn comparable<'g>(
    graph: &'g Graph,
    loss: &'static str,
    prediction: Var<'g>,
    target: Var<'g>,
) -> Result<(), Var<'g>> {
    if prediction.is_poisoned() {
        return Err(prediction);
    }
    if prediction.meta() == target.meta() && prediction.dtype().is_float() {
        return Ok(());
    }
    let describe = |v: Var<'_>| format!("{} {}", v.dtype(), v.shape());
    let (found, expected) = (describe(prediction), describe(target));
    let message = format!("needs f32 of one shape, found prediction {found} and target {expected}");
    Err(graph.fail(loss, message))
}
