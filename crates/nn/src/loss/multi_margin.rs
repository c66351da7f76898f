//! Hinge loss of many classes.

use gradus_graph::{Scope, Shape, Var};

use super::labels::{Divisor, Labels, one_hot};
use super::{Loss, Reduction, at_least};

/// Hinge loss of class scores with labels: the right class is to lead every other by a margin.
///
/// ```text
/// mean  w[t] / C · Σₖ max(margin − x[t] + x[k], 0)      k ≠ t
/// ```
///
/// Shapes, weights and ignored labels as in [`CrossEntropy`](crate::CrossEntropy), but the mean
/// divides by the number of labels that count, whatever their weights.
///
/// Source: Crammer & Singer (2001), JMLR 2.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiMargin {
    labels: Labels,
    margin: f64,
    squared: bool,
}

labelled!(MultiMargin);

impl Default for MultiMargin {
    fn default() -> Self {
        Self {
            labels: Labels::default(),
            margin: 1.0,
            squared: false,
        }
    }
}

impl MultiMargin {
    /// By how much the right class is to lead, ≥ 0; 1 unless set.
    #[must_use]
    pub const fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// The squares of what is missing: PyTorch's `p = 2`.
    #[must_use]
    pub const fn squared(mut self) -> Self {
        self.squared = true;
        self
    }
}

impl Loss for MultiMargin {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if prediction.is_poisoned() || target.is_poisoned() {
            return prediction;
        }
        if let Err(poison) = at_least(graph, "multi_margin", "margin", self.margin, 0.0) {
            return poison;
        }
        let (x, labels) = match self.labels.with_labels(prediction, target) {
            Ok([x, labels]) => (x, labels),
            Err(message) => return graph.fail("multi_margin", message),
        };
        let counted = self.labels.count(labels, Divisor::Number);
        let classes = x.shape().last_dim();
        let bound = u32::try_from(classes).unwrap_or(u32::MAX);
        let right = one_hot(x, counted.labels.check_index(bound));
        let lead = right.select(x, 0.0).sum_keep(&[-1]);
        let missing = (x - lead + self.margin).relu();
        let missing = match self.squared {
            true => missing.square(),
            false => missing,
        };
        let losses = right.select(0.0, missing).sum(&[-1]);
        counted.total(losses * (1.0 / classes as f64))
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
