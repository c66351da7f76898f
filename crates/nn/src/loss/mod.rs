//! Losses: how far predictions are from targets.

/// The setting that losses share, as a method.
macro_rules! reduced {
    ($($name:ident),*) => {$(
        impl $name {
            /// The mean, the sum or none of both over all losses; the mean unless set.
            #[must_use]
            pub const fn reduction(mut self, reduction: $crate::Reduction) -> Self {
                self.reduction = reduction;
                self
            }
        }
    )*};
}

#[macro_use]
mod labels;
mod bce;
mod cosine_embedding;
mod cross_entropy;
mod ctc;
mod focal;
mod gaussian_nll;
mod hinge;
mod huber;
mod kl;
mod l1;
mod margin_ranking;
mod mse;
mod multi_margin;
mod poisson_nll;
mod triplet_margin;

use std::fmt::Debug;

use gradus_graph::{DType, Graph, Scope, Shape, Var};

pub use bce::BceWithLogits;
pub use cosine_embedding::CosineEmbedding;
pub use cross_entropy::{CrossEntropy, Nll};
pub use ctc::Ctc;
pub use focal::{BinaryFocal, Focal};
pub use gaussian_nll::GaussianNll;
pub use hinge::{Hinge, HingeEmbedding};
pub use huber::{Huber, SmoothL1};
pub use kl::KlDivergence;
pub use l1::L1;
pub use margin_ranking::MarginRanking;
pub use mse::Mse;
pub use multi_margin::MultiMargin;
pub use poisson_nll::PoissonNll;
pub use triplet_margin::TripletMargin;

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

    /// The label that counts nothing; `None` if every label counts.
    fn ignored(&self) -> Option<i32> {
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
    /// The losses themselves, for a step that goes on computing with them: not a loss to train
    /// with, which is a scalar.
    None,
}

impl Reduction {
    /// The mean or sum of the losses of single elements, `[B, …] -> []`; for
    /// [`Reduction::None`] these.
    ///
    /// Axes after the first are summed first: a step then reports one number a sample.
    #[track_caller]
    pub fn of(self, elements: Var<'_>) -> Var<'_> {
        if self == Self::None {
            return elements;
        }
        let rest: Vec<isize> = (1..elements.rank()).map(usize::cast_signed).collect();
        let count = elements.shape().numel();
        let total = elements.sum(&rest).sum_all();
        match self {
            Self::Mean => total * (1.0 / count as f64),
            Self::Sum | Self::None => total,
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

/// The poison if one of these has any.
fn poisoned<'g>(vars: &[Var<'g>]) -> Result<(), Var<'g>> {
    vars.iter()
        .find(|v| v.is_poisoned())
        .map_or(Ok(()), |&v| Err(v))
}

/// Targets as `f32`, if they are numbers, one for each of `shape`.
#[track_caller]
fn numbers<'g>(
    graph: &'g Graph,
    loss: &'static str,
    shape: &[usize],
    target: Var<'g>,
) -> Result<Var<'g>, Var<'g>> {
    let (found, dtype) = (target.shape(), target.dtype());
    if found[..] != *shape || dtype == DType::Bool {
        let message = format!("needs a target f32 or i32 {shape:?}, found {dtype} {found}");
        return Err(graph.fail(loss, message));
    }
    Ok(target.cast(DType::F32))
}

/// Records a mistake for scalars.
#[track_caller]
fn vectors<'g>(graph: &'g Graph, loss: &'static str, var: Var<'g>) -> Result<(), Var<'g>> {
    match var.rank() {
        0 => Err(graph.fail(loss, "needs vectors, found scalars".to_owned())),
        _ => Ok(()),
    }
}

/// Records a mistake unless this setting is a number of at least `least`.
#[track_caller]
fn at_least<'g>(
    graph: &'g Graph,
    loss: &'static str,
    name: &str,
    value: f64,
    least: f64,
) -> Result<(), Var<'g>> {
    if value >= least && value.is_finite() {
        return Ok(());
    }
    Err(graph.fail(
        loss,
        format!("{name} must be at least {least}, found {value}"),
    ))
}
