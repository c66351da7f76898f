//! Likelihood of counts.

use std::f64::consts::TAU;

use gradus_graph::{Scope, Var};

use super::{Loss, Reduction, at_least, comparable};

/// Negative log-likelihood of counts `t` under Poisson distributions whose rates are predicted by
/// their logarithms `x`: `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean  eˣ − t·x
/// ```
///
/// without the term `ln t!`, which no prediction changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoissonNll {
    reduction: Reduction,
    rates: bool,
    full: bool,
    eps: f64,
}

impl Default for PoissonNll {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            rates: false,
            full: false,
            eps: 1e-8,
        }
    }
}

impl PoissonNll {
    /// The mean over all elements; predictions are logarithms of rates.
    pub fn new() -> Self {
        Self::default()
    }

    /// Predictions are the rates themselves: `x − t · ln(x + eps)`.
    #[must_use]
    pub const fn rates(mut self) -> Self {
        self.rates = true;
        self
    }

    /// Adds Stirling's formula for `ln t!`: `t ln t − t + ½ ln(2π t)` where `t > 1`.
    #[must_use]
    pub const fn full(mut self) -> Self {
        self.full = true;
        self
    }

    /// Keeps the logarithm of a rate from that of 0, ≥ 0; 1e-8 unless set.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

reduced!(PoissonNll);

impl Loss for PoissonNll {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if let Err(poison) = comparable(graph, "poisson_nll", prediction, target)
            .and_then(|()| at_least(graph, "poisson_nll", "eps", self.eps, 0.0))
        {
            return poison;
        }
        let (x, t) = (prediction, target);
        let losses = match self.rates {
            true => x - t * (x + self.eps).log(),
            false => x.exp() - t * x,
        };
        let losses = match self.full {
            true => losses + stirling(t),
            false => losses,
        };
        self.reduction.of(losses)
    }
}

fn stirling(t: Var<'_>) -> Var<'_> {
    let many = t.gt(1.0);
    let safe = many.select(t, 1.0);
    many.select(safe * safe.log() - safe + (safe * TAU).log() * 0.5, 0.0)
}
