//! Focal losses: cross-entropies that count little where the prediction is right already.

use gradus_graph::{DType, Scope, Shape, Var};

use super::bce::softplus;
use super::labels::{Divisor, Labels};
use super::{Loss, Reduction, comparable};

/// Focal loss of class scores (logits) with class labels.
///
/// ```text
/// mean  −w[t] · (1 − p)^γ · ln p      p = softmax(x)[t]
/// ```
///
/// Shapes, weights and ignored labels as in [`CrossEntropy`](crate::CrossEntropy), but the mean
/// divides by the number of labels that count, whatever their weights. With γ = 0 and no weights
/// it is cross-entropy.
///
/// Source: Lin, Goyal, Girshick, He & Dollár (2017), arXiv:1708.02002.
#[derive(Clone, Debug, PartialEq)]
pub struct Focal {
    labels: Labels,
    gamma: f64,
}

/// Focal loss of logits `x` with targets `t` in [0, 1]: `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean  −a · (1 − p)^γ · ln p      p = σ(x), a = alpha if t = 1;  p = 1 − σ(x), a = 1 − alpha if t = 0
/// ```
///
/// Between 0 and 1 the logarithm becomes [`BceWithLogits`](crate::BceWithLogits), and `p` and `a`
/// go from one to the other in proportion, as in torchvision.
///
/// Source: Lin, Goyal, Girshick, He & Dollár (2017), arXiv:1708.02002.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryFocal {
    reduction: Reduction,
    gamma: f64,
    alpha: Option<f64>,
}

labelled!(Focal);
reduced!(BinaryFocal);

impl Default for Focal {
    fn default() -> Self {
        Self {
            labels: Labels::default(),
            gamma: 2.0,
        }
    }
}

impl Focal {
    /// How little a good prediction counts, at least 0; 2 unless set.
    #[must_use]
    pub const fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }
}

impl Default for BinaryFocal {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            gamma: 2.0,
            alpha: Some(0.25),
        }
    }
}

impl BinaryFocal {
    /// The mean, with γ = 2 and alpha = 0.25.
    pub fn new() -> Self {
        Self::default()
    }

    /// How little a good prediction counts, at least 0.
    #[must_use]
    pub const fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// The weight of targets 1, in [0, 1]; that of targets 0 is what is left to 1.
    #[must_use]
    pub const fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// Gives all targets the weight 1.
    #[must_use]
    pub const fn no_alpha(mut self) -> Self {
        self.alpha = None;
        self
    }
}

impl Loss for Focal {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        if prediction.is_poisoned() || target.is_poisoned() {
            return prediction;
        }
        let checked = check_gamma(self.gamma);
        let checked = checked.and_then(|()| self.labels.with_labels(prediction, target));
        let (logits, labels) = match checked {
            Ok([logits, labels]) => (logits, labels),
            Err(message) => return scope.graph().fail("focal", message),
        };
        let counted = self.labels.count(labels, Divisor::Number);
        let loss = logits.cross_entropy(counted.labels);
        // 1 − p, exact where p is nearly 1.
        let wrong = -(-loss).expm1();
        counted.total(power(wrong, self.gamma, loss))
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

impl Loss for BinaryFocal {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if let Err(poison) = comparable(graph, "binary_focal", prediction, target) {
            return poison;
        }
        if let Err(message) = check_gamma(self.gamma) {
            return graph.fail("binary_focal", message);
        }
        if let Some(alpha) = self.alpha.filter(|a| !(0.0..=1.0).contains(a)) {
            let message = format!("alpha must be in [0, 1], found {alpha}");
            return graph.fail("binary_focal", message);
        }
        let (x, t) = (prediction, target);
        let loss = softplus(x) - x * t;
        let wrong = x.sigmoid() * (1.0 - t) + (-x).sigmoid() * t;
        let focused = power(wrong, self.gamma, loss);
        let weighted = self.alpha.map_or(focused, |alpha| {
            focused * (t * (2.0 * alpha - 1.0) + (1.0 - alpha))
        });
        self.reduction.of(weighted)
    }

    fn probabilities<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.sigmoid())
    }

    /// 1 where the probability is above ½, else 0.
    fn classes<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.gt(0.0).cast(DType::I32))
    }
}

fn check_gamma(gamma: f64) -> Result<(), String> {
    match gamma >= 0.0 && gamma.is_finite() {
        true => Ok(()),
        false => Err(format!("gamma must be at least 0, found {gamma}")),
    }
}

/// `q^γ · loss`, for `q` in [0, 1].
fn power<'g>(q: Var<'g>, gamma: f64, loss: Var<'g>) -> Var<'g> {
    match gamma {
        0.0 => loss,
        1.0 => q * loss,
        2.0 => q.square() * loss,
        // Below 1 the derivative at 0 is infinite; nothing is lost by staying above.
        _ => q.maximum(1e-30).pow(gamma) * loss,
    }
}
