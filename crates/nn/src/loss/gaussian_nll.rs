//! Likelihood of numbers whose spread is predicted, too.

use std::f64::consts::TAU;

use gradus_graph::{DType, Graph, Scope, Shape, Var};

use super::{Reduction, at_least, comparable, poisoned};

/// Negative log-likelihood of targets under normal distributions of predicted mean and variance.
///
/// ```text
/// mean  ½ (ln v + (x − t)² / v)      v = max(variance, eps)
/// ```
///
/// without the term `½ ln 2π`. The gradient of a variance below `eps` is that of `eps`, so that it
/// can grow again.
///
/// Source: Nix & Weigend (1994), doi:10.1109/ICNN.1994.374138.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNll {
    reduction: Reduction,
    full: bool,
    eps: f64,
}

impl Default for GaussianNll {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            full: false,
            eps: 1e-6,
        }
    }
}

impl GaussianNll {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the term `½ ln 2π`.
    #[must_use]
    pub const fn full(mut self) -> Self {
        self.full = true;
        self
    }

    /// The least variance, > 0; 1e-6 unless set.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The loss of means and targets `[B, …]`, and variances of the same shape, of one for each
    /// row (without the last axis, or with a last axis of 1) or of one for all, `[]`.
    ///
    /// Other shapes or dtypes are a mistake that `Graph::check` reports.
    #[track_caller]
    pub fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        mean: Var<'g>,
        target: Var<'g>,
        variance: Var<'g>,
    ) -> Var<'g> {
        let variance = match self.check(scope.graph(), [mean, target, variance]) {
            Ok(variance) => variance,
            Err(poison) => return poison,
        };
        let clamped = variance.maximum(self.eps);
        let variance = variance + (clamped - variance).stop_gradient();
        let losses = (variance.log() + (mean - target).square() / variance) * 0.5;
        let losses = match self.full {
            true => losses + 0.5 * TAU.ln(),
            false => losses,
        };
        self.reduction.of(losses)
    }

    /// The variance in a shape that broadcasts to that of the means.
    #[track_caller]
    fn check<'g>(
        &self,
        graph: &'g Graph,
        [mean, target, variance]: [Var<'g>; 3],
    ) -> Result<Var<'g>, Var<'g>> {
        poisoned(&[mean, target, variance])?;
        comparable(graph, "gaussian_nll", mean, target)?;
        at_least(graph, "gaussian_nll", "eps", self.eps, f64::MIN_POSITIVE)?;
        spread(graph, variance, mean.shape())
    }
}

reduced!(GaussianNll);

#[track_caller]
fn spread<'g>(graph: &'g Graph, variance: Var<'g>, mean: Shape) -> Result<Var<'g>, Var<'g>> {
    let found = variance.shape();
    let row = mean
        .rank()
        .checked_sub(1)
        .map(|last| mean.with_axis(last, 1));
    if variance.dtype() == DType::F32 {
        if found == mean || found.rank() == 0 || Some(found) == row {
            return Ok(variance);
        }
        if let Some(row) = row.filter(|_| found[..] == mean[..mean.rank() - 1]) {
            return Ok(variance.reshape(row));
        }
    }
    let dtype = variance.dtype();
    let message = format!(
        "needs a variance f32 {mean}, one for each row or one for all, found {dtype} {found}"
    );
    Err(graph.fail("gaussian_nll", message))
}
