//! Metrics: what is reported beside the loss.

use std::fmt::Debug;

use gradus_graph::{DType, Scope, Var};

use crate::Loss;

/// A number that is reported for every batch and averaged over an epoch, weighted by samples.
pub trait Metric: Debug + Send + Sync {
    /// Its name in reports: `accuracy`.
    fn name(&self) -> &'static str;

    /// The metric of a batch: an `f32` scalar of the form `scale · Σ` of a vector, which a step
    /// reports without a dispatch of its own. `loss` knows what predictions mean.
    fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        loss: &dyn Loss,
        prediction: Var<'g>,
        target: Var<'g>,
    ) -> Var<'g>;

    /// What is reported for a mean over batches: the mean itself, unless the metric is a function of
    /// it.
    fn of_mean(&self, mean: f64) -> f64 {
        mean
    }
}

/// The share of predictions of the right class, in [0, 1].
///
/// The predicted class is the loss's ([`Loss::classes`]), the first of the largest scores if the
/// loss has none. Targets are labels, probabilities of all classes (the largest counts), or, for
/// yes-or-no predictions, numbers that are 1 for yes. Labels that the loss ignores count nothing, so
/// that of sequences it is the share of tokens that are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy;

impl Accuracy {
    /// The share of predictions of the right class.
    pub const fn new() -> Self {
        Self
    }
}

impl Metric for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        loss: &dyn Loss,
        prediction: Var<'g>,
        target: Var<'g>,
    ) -> Var<'g> {
        if prediction.is_poisoned() || target.is_poisoned() {
            return prediction;
        }
        let classes = |v: Var<'g>| loss.classes(v).unwrap_or_else(|| v.argmax(-1));
        let found = classes(prediction);
        let wanted = match target.dtype() {
            DType::F32 if target.shape() == found.shape() => target.gt(0.5).cast(DType::I32),
            DType::F32 if target.shape() == prediction.shape() => classes(target),
            _ => target.cast(DType::I32),
        };
        if found.shape() != wanted.shape() {
            let (p, t) = (prediction.shape(), target.shape());
            let message = format!("prediction {p} and target {t} have no classes in common");
            return scope.graph().fail("accuracy", message);
        }
        let right = found.eq(wanted);
        match loss.ignored() {
            Some(ignored) if target.dtype().is_int() => {
                let counts = wanted.ne(ignored);
                let share = counts.cast(DType::F32) / counts.cast(DType::F32).sum_all();
                right.select(share, 0.0).sum_all()
            }
            _ => right.cast(DType::F32).mean_all(),
        }
    }
}

/// The exponential of the loss: how many tokens a language model hesitates between, if the loss is
/// the mean cross-entropy.
///
/// ```text
/// exp(mean −log p[t])
/// ```
///
/// It is made of the mean over all batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Perplexity;

impl Perplexity {
    /// The exponential of the loss.
    pub const fn new() -> Self {
        Self
    }
}

impl Metric for Perplexity {
    fn name(&self) -> &'static str {
        "perplexity"
    }

    fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        loss: &dyn Loss,
        prediction: Var<'g>,
        target: Var<'g>,
    ) -> Var<'g> {
        loss.forward(scope, prediction, target)
    }

    fn of_mean(&self, mean: f64) -> f64 {
        mean.exp()
    }
}
