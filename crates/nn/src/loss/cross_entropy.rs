//! Cross-entropy with class labels or class probabilities, and of logarithms of probabilities.

use gradus_graph::{DType, Scope, Shape, Var};

use super::labels::{Divisor, Labels, one_hot};
use super::{Loss, Reduction};

/// Cross-entropy of class scores (logits) with targets.
///
/// ```text
/// mean  −w[t] · log_softmax(x)[t]      or      mean  −Σₖ w[k] · t[k] · log_softmax(x)[k]
/// ```
///
/// Logits `[B, …, C]` or `[B, C, …]` with labels of the other axes (`i32` or `u32` in `0..C`), or
/// with probabilities of the logits' shape (`f32`). Unless [`CrossEntropy::class_axis`] says
/// otherwise, the classes lie on the axis after the batch of `[N, C, H, W]`, and else on the last
/// one, if the labels fit that. A label out of range makes the step an error.
///
/// The weighted mean divides by `Σ w[t]` over the labels that are not ignored (by their number
/// for probabilities); smoothing by `ε` gives `−(1 − ε) · w[t] · log p[t] − ε/C · Σₖ w[k] log p[k]`.
/// Everything ignored gives a mean of NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    labels: Labels,
    smoothing: f64,
}

/// Negative log-likelihood: cross-entropy of logarithms of probabilities, as
/// [`Var::log_softmax`] gives, with labels.
///
/// ```text
/// mean  −w[t] · x[t]
/// ```
///
/// Shapes, weights and ignored labels as in [`CrossEntropy`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nll {
    labels: Labels,
}

labelled!(CrossEntropy, Nll);

impl CrossEntropy {
    /// Moves a share `epsilon` in [0, 1] of each target to all classes evenly.
    ///
    /// Source: Szegedy et al. (2015), arXiv:1512.00567, §7.
    #[must_use]
    pub const fn label_smoothing(mut self, epsilon: f64) -> Self {
        self.smoothing = epsilon;
        self
    }

    fn prepare<'g>(&self, x: Var<'g>, t: Var<'g>) -> Result<[Var<'g>; 2], String> {
        if !(0.0..=1.0).contains(&self.smoothing) {
            let found = self.smoothing;
            return Err(format!("label smoothing must be in [0, 1], found {found}"));
        }
        let [x, t] = self.labels.classes_last(x, t)?;
        self.labels.check(x.shape().last_dim())?;
        Ok([x, t])
    }

    /// `−Σₖ w[k] · t[k] · log_softmax(x)[k]`, row by row.
    fn of_distributions<'g>(&self, logits: Var<'g>, target: Var<'g>) -> Var<'g> {
        let log = logits.log_softmax();
        let log = self.labels.class_weights(log).map_or(log, |w| log * w);
        -(log * target).sum(&[-1])
    }
}

impl Loss for CrossEntropy {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        if prediction.is_poisoned() || target.is_poisoned() {
            return prediction;
        }
        let (logits, target) = match self.prepare(prediction, target) {
            Ok([logits, target]) => (logits, target),
            Err(message) => return scope.graph().fail("cross_entropy", message),
        };
        let share = self.smoothing / logits.shape().last_dim() as f64;
        if target.dtype() == DType::F32 {
            let target = match self.smoothing {
                0.0 => target,
                smoothing => target * (1.0 - smoothing) + share,
            };
            let losses = self.of_distributions(logits, target);
            return self.labels.reduction.of(losses);
        }
        let counted = self.labels.count(target, Divisor::Weight);
        if self.smoothing == 0.0 {
            // One fused kernel computes this, and its gradient.
            return counted.total(logits.cross_entropy(counted.labels));
        }
        let bound = u32::try_from(logits.shape().last_dim()).unwrap_or(u32::MAX);
        let hot = one_hot(logits, counted.labels.check_index(bound));
        let target = hot.select(1.0 - self.smoothing + share, share);
        let losses = self.of_distributions(logits, target);
        counted.weighted().total(losses)
    }

    fn probabilities<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        self.labels.softmax(prediction)
    }

    fn classes<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        self.labels.argmax(prediction)
    }

    fn ignored(&self) -> Option<i32> {
        self.labels.ignored
    }

    fn label_bound(&self, prediction: &Shape) -> Option<usize> {
        self.labels.bound(prediction)
    }
}

impl Loss for Nll {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        if prediction.is_poisoned() || target.is_poisoned() {
            return prediction;
        }
        let (x, labels) = match self.labels.with_labels(prediction, target) {
            Ok([x, labels]) => (x, labels),
            Err(message) => return scope.graph().fail("nll", message),
        };
        let counted = self.labels.count(labels, Divisor::Weight);
        let bound = u32::try_from(x.shape().last_dim()).unwrap_or(u32::MAX);
        let picked = one_hot(x, counted.labels.check_index(bound))
            .select(x, 0.0)
            .sum(&[-1]);
        counted.total(-picked)
    }

    fn probabilities<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.exp())
    }

    fn classes<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        self.labels.argmax(prediction)
    }

    fn ignored(&self) -> Option<i32> {
        self.labels.ignored
    }

    fn label_bound(&self, prediction: &Shape) -> Option<usize> {
        self.labels.bound(prediction)
    }
}
