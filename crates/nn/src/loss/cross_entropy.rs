//! Cross-entropy with class labels or class probabilities.

use gradus_graph::{Array, DType, Data, Scope, Shape, Var};

use super::{Loss, Reduction};

/// Cross-entropy of class scores (logits) with targets.
///
/// ```text
/// mean  −w[t] · log_softmax(x)[t]      or      mean  −Σₖ w[k] · t[k] · log_softmax(x)[k]
/// ```
///
/// Logits `[B, …, C]` with labels `[B, …]` (`i32` or `u32` in `0..C`), or with probabilities of
/// the logits' shape (`f32`). Where labels do not fit that way, `[B, C, …]` is understood, as for
/// images in PyTorch. A label out of range makes the step an error.
///
/// The weighted mean divides by `Σ w[t]` over the labels that are not ignored (by `B` for
/// probabilities); smoothing replaces a label by `(1 − ε)·one_hot + ε/C`.
/// Everything ignored gives a mean of NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    reduction: Reduction,
    smoothing: f64,
    weights: Option<Vec<f32>>,
    ignored: Option<i32>,
}

impl CrossEntropy {
    /// The mean over all labels, of equal weight.
    pub fn new() -> Self {
        Self::default()
    }

    /// The mean or the sum over all labels.
    #[must_use]
    pub const fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Moves a share `epsilon` in [0, 1] of each target to all classes evenly.
    ///
    /// Source: Szegedy et al. (2015), arXiv:1512.00567, §7.
    #[must_use]
    pub const fn label_smoothing(mut self, epsilon: f64) -> Self {
        self.smoothing = epsilon;
        self
    }

    /// A factor for each class.
    #[must_use]
    pub fn class_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// Labels of this value count nothing; PyTorch's is −100.
    #[must_use]
    pub const fn ignore(mut self, label: i32) -> Self {
        self.ignored = Some(label);
        self
    }

    fn is_plain(&self) -> bool {
        self.smoothing == 0.0 && self.weights.is_none() && self.ignored.is_none()
    }

    /// A message if the settings do not fit `classes`.
    fn mistake(&self, classes: usize) -> Option<String> {
        if !(0.0..=1.0).contains(&self.smoothing) {
            let found = self.smoothing;
            return Some(format!("label smoothing must be in [0, 1], found {found}"));
        }
        let weights = self.weights.as_ref().map(Vec::len)?;
        (weights != classes)
            .then(|| format!("expected {classes} class weights, one a class, found {weights}"))
    }

    /// Loss and weight of every label: `[B, …, C], [B, …] -> [B, …]` each.
    fn of_labels<'g>(&self, logits: Var<'g>, labels: Var<'g>) -> [Var<'g>; 2] {
        let graph = logits.graph();
        let shape = logits.shape();
        let (axis, classes) = (shape.rank() - 1, shape.last_dim());
        let labels = labels.cast(DType::I32);
        let counted = match self.ignored {
            Some(ignored) => labels.ne(ignored),
            None => graph.full(labels.shape(), true),
        };
        let labels = counted.select(labels, 0);
        let labels = labels.check_index(u32::try_from(classes).unwrap_or(u32::MAX));
        let column = labels.reshape(shape.with_axis(axis, 1)).expand(shape);
        let hot = graph.iota(shape, axis).eq(column);
        let weight = match &self.weights {
            Some(w) => graph
                .literal(Array::vector(Data::F32(w.clone())))
                .expand(shape),
            None => graph.full(shape, 1.0),
        };
        let share = self.smoothing / classes as f64;
        let one_hot = hot.select(1.0 - self.smoothing + share, share);
        let loss = -(logits.log_softmax() * weight * one_hot).sum(&[-1]);
        let weight = hot.select(weight, 0.0).sum(&[-1]);
        [loss, weight].map(|v| counted.select(v, 0.0))
    }

    /// Loss of every distribution: `[B, …, C], [B, …, C] -> [B, …]`.
    fn of_distributions<'g>(&self, logits: Var<'g>, target: Var<'g>) -> Var<'g> {
        let share = self.smoothing / logits.shape().last_dim() as f64;
        let target = match self.smoothing {
            0.0 => target,
            smoothing => target * (1.0 - smoothing) + share,
        };
        let log = logits.log_softmax();
        let log = match &self.weights {
            Some(w) => log * logits.graph().literal(Array::vector(Data::F32(w.clone()))),
            None => log,
        };
        -(log * target).sum(&[-1])
    }
}

impl Loss for CrossEntropy {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        if prediction.is_poisoned() || target.is_poisoned() {
            return prediction;
        }
        let graph = scope.graph();
        let Some((logits, target)) = classes_last(prediction, target) else {
            let (p, t) = (prediction.shape(), target.shape());
            let dtype = target.dtype();
            return graph.fail(
                "cross_entropy",
                format!(
                    "expected logits [B, …, C] with i32 or u32 labels [B, …] or f32 probabilities \
                     [B, …, C], found logits {p} and {dtype} target {t}"
                ),
            );
        };
        if let Some(message) = self.mistake(logits.shape().last_dim()) {
            return graph.fail("cross_entropy", message);
        }
        if target.dtype() == DType::F32 {
            let losses = self.of_distributions(logits, target);
            return self.reduction.of(losses);
        }
        if self.is_plain() {
            // One fused kernel computes this, and its gradient.
            let losses = logits.cross_entropy(target);
            return match self.reduction {
                Reduction::Mean => losses.mean_all(),
                Reduction::Sum => losses.sum_all(),
            };
        }
        let [losses, weights] = self.of_labels(logits, target);
        match self.reduction {
            Reduction::Mean => losses.sum_all() / weights.sum_all(),
            Reduction::Sum => losses.sum_all(),
        }
    }

    fn probabilities<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.softmax())
    }

    fn classes<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.argmax(-1))
    }

    fn label_bound(&self, prediction: &Shape) -> Option<usize> {
        prediction.last().copied()
    }
}

/// Logits with the classes on the last axis, and targets in the same order of axes; `None` if
/// they do not fit.
fn classes_last<'g>(logits: Var<'g>, target: Var<'g>) -> Option<(Var<'g>, Var<'g>)> {
    let (x, t) = (logits.shape(), target.shape());
    if x.rank() == 0 || logits.dtype() != DType::F32 || target.dtype() == DType::Bool {
        return None;
    }
    if target.dtype() == DType::F32 {
        return (x == t).then_some((logits, target));
    }
    if x[..x.rank() - 1] == t[..] {
        return Some((logits, target));
    }
    let without_1 = [&x[..1], x.get(2..)?].concat();
    let axes: Vec<usize> = std::iter::once(0).chain(2..x.rank()).chain([1]).collect();
    (without_1 == t[..]).then(|| (logits.permute(&axes), target))
}
