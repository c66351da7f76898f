//! Kullback–Leibler divergence.

use gradus_graph::{Scope, Var};

use super::{Loss, Reduction, comparable};

/// The divergence of a distribution `q`, given by its logarithms, from the target `p`:
/// `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean  p · (ln p − x)      x = ln q; 0 where p = 0
/// ```
///
/// [`Var::log_softmax`] gives such an `x`. The mean divides by the number of elements, as
/// PyTorch's does; the divergence of distributions is [`KlDivergence::batch_mean`].
///
/// Source: Kullback & Leibler (1951), doi:10.1214/aoms/1177729694.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KlDivergence {
    reduction: Reduction,
    batch_mean: bool,
    log_target: bool,
}

impl KlDivergence {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// The mean, the sum or none of both over all elements; the mean unless set.
    #[must_use]
    pub const fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self.batch_mean = false;
        self
    }

    /// The sum of a sample's elements, and the mean over the batch: what the formula of the
    /// divergence says.
    #[must_use]
    pub const fn batch_mean(mut self) -> Self {
        self.reduction = Reduction::Sum;
        self.batch_mean = true;
        self
    }

    /// Targets are logarithms, too.
    #[must_use]
    pub const fn log_target(mut self) -> Self {
        self.log_target = true;
        self
    }
}

impl Loss for KlDivergence {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if let Err(poison) = comparable(graph, "kl_divergence", prediction, target) {
            return poison;
        }
        if self.batch_mean && prediction.rank() == 0 {
            let message = "a scalar has no batch to take the mean of";
            return graph.fail("kl_divergence", message.to_owned());
        }
        let losses = if self.log_target {
            target.exp() * (target - prediction)
        } else {
            // 1 · ln 1 stands for 0 · ln 0, which has a gradient.
            let safe = target.eq(0.0).select(1.0, target);
            safe * safe.log() - target * prediction
        };
        let total = self.reduction.of(losses);
        if self.batch_mean {
            return total * (1.0 / prediction.dim(0) as f64);
        }
        total
    }

    fn probabilities<'g>(&self, prediction: Var<'g>) -> Option<Var<'g>> {
        Some(prediction.exp())
    }
}
