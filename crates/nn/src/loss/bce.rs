//! Binary cross-entropy of logits.

use gradus_graph::{Array, DType, Data, Scope, Var};

use super::{Loss, Reduction, comparable};

/// Binary cross-entropy of logits `x` with targets `t` in [0, 1]: `[B, …], [B, …] -> []`, both
/// `f32`.
///
/// ```text
/// mean  max(x, 0) − x·t + ln(1 + e^(−|x|))
/// ```
///
/// This form cannot overflow, and its derivative is `σ(x) − t` everywhere. A weight `p` of the
/// positive term gives `(1 − t)·x + (1 + (p − 1)·t)·(ln(1 + e^(−|x|)) + max(−x, 0))`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BceWithLogits {
    reduction: Reduction,
    weight: Option<Vec<f32>>,
    pos_weight: Option<Vec<f32>>,
}

impl BceWithLogits {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Factors of the whole loss, one for each position on the last axis, or one for all.
    #[must_use]
    pub fn weight(mut self, weight: impl Into<Vec<f32>>) -> Self {
        self.weight = Some(weight.into());
        self
    }

    /// Factors of the positive term, one for each position on the last axis, or one for all:
    /// above 1 they raise recall, below 1 precision.
    #[must_use]
    pub fn pos_weight(mut self, weight: impl Into<Vec<f32>>) -> Self {
        self.pos_weight = Some(weight.into());
        self
    }
}

reduced!(BceWithLogits);

impl Loss for BceWithLogits {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if let Err(poison) = comparable(graph, "bce_with_logits", prediction, target) {
            return poison;
        }
        let (x, t) = (prediction, target);
        let vector = |w: &Vec<f32>| graph.literal(Array::vector(Data::F32(w.clone())));
        let elements = match &self.pos_weight {
            None => softplus(x) - x * t,
            Some(p) => {
                let factor = (vector(p) - 1.0) * t + 1.0;
                (1.0 - t) * x + factor * softplus(-x)
            }
        };
        let elements = match &self.weight {
            None => elements,
            Some(w) => elements * vector(w),
        };
        // A weight must not enlarge the loss by broadcasting.
        if !elements.is_poisoned() && elements.shape() != x.shape() {
            let (found, wide) = (x.shape(), elements.shape());
            let message = format!("weights turn predictions {found} into {wide}");
            return graph.fail("bce_with_logits", message);
        }
        self.reduction.of(elements)
    }

    fn probabilities<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.sigmoid())
    }

    /// 1 where the probability is above ½, else 0.
    fn classes<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.gt(0.0).cast(DType::I32))
    }
}

/// `ln(1 + eᶻ) = max(z, 0) + ln(1 + e^(−|z|))`, which cannot overflow. Written with `select`
/// because the derivatives of `max` and `|z|` at 0 are conventions that do not add up to ½.
pub(super) fn softplus(z: Var<'_>) -> Var<'_> {
    let positive = z.gt(0.0);
    positive.select(z, 0.0) + positive.select(-z, z).exp().log1p()
}
