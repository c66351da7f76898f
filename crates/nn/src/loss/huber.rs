//! Losses that are square near 0 and straight further away, so that outliers pull less.

use gradus_graph::{Scope, Var};

use super::{Loss, Reduction, at_least, comparable};

/// Huber's loss: `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean  ½ d²            where |d| ≤ δ      d = prediction − target
///       δ (|d| − ½ δ)   elsewhere
/// ```
///
/// Source: Huber (1964), doi:10.1214/aoms/1177703732.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Huber {
    reduction: Reduction,
    delta: f64,
}

/// Smooth L1, Huber's loss divided by `β`: `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean  ½ d² / β    where |d| ≤ β      d = prediction − target
///       |d| − ½ β   elsewhere
/// ```
///
/// With β = 0 it is [`L1`](crate::L1). Source: Girshick (2015), arXiv:1504.08083, eq. 3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothL1 {
    reduction: Reduction,
    beta: f64,
}

impl Default for Huber {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            delta: 1.0,
        }
    }
}

impl Default for SmoothL1 {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            beta: 1.0,
        }
    }
}

impl Huber {
    /// The mean over all elements, with δ = 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The distance from which on the loss is straight, > 0.
    #[must_use]
    pub const fn delta(mut self, delta: f64) -> Self {
        self.delta = delta;
        self
    }
}

impl SmoothL1 {
    /// The mean over all elements, with β = 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The distance from which on the loss is straight, ≥ 0.
    #[must_use]
    pub const fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }
}

reduced!(Huber, SmoothL1);

/// Huber's loss of each difference: `q (|d| − ½ q)` with `q = min(|d|, δ)`.
fn huber(difference: Var<'_>, delta: f64) -> Var<'_> {
    let distance = difference.abs();
    let near = distance.minimum(delta);
    near * (distance - near * 0.5)
}

impl Loss for Huber {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if let Err(poison) = comparable(graph, "huber", prediction, target)
            .and_then(|()| at_least(graph, "huber", "delta", self.delta, f64::MIN_POSITIVE))
        {
            return poison;
        }
        self.reduction.of(huber(prediction - target, self.delta))
    }
}

impl Loss for SmoothL1 {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        if let Err(poison) = comparable(graph, "smooth_l1", prediction, target)
            .and_then(|()| at_least(graph, "smooth_l1", "beta", self.beta, 0.0))
        {
            return poison;
        }
        let difference = prediction - target;
        let losses = match self.beta {
            0.0 => difference.abs(),
            beta => huber(difference, beta) * (1.0 / beta),
        };
        self.reduction.of(losses)
    }
}
