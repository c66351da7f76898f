//! Hinge losses.

use gradus_graph::{Scope, Var};

use super::{Loss, Reduction, at_least, comparable, numbers, poisoned};

/// Hinge loss of scores `x` with targets −1 and 1: `[B, …], [B, …] -> []`, targets `f32` or `i32`.
///
/// ```text
/// mean  max(1 − t·x, 0)
/// ```
///
/// A target 0 is read as −1. Source: Cortes & Vapnik (1995), doi:10.1007/BF00994018.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hinge {
    reduction: Reduction,
    squared: bool,
}

/// Hinge loss of distances `x`, small for pairs that are alike (1) and large for others (−1):
/// `[B, …], [B, …] -> []`, targets `f32` or `i32`.
///
/// ```text
/// mean  x                    where t = 1
///       max(margin − x, 0)   where t = −1
/// ```
///
/// Source: Hadsell, Chopra & LeCun (2006), doi:10.1109/CVPR.2006.100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HingeEmbedding {
    reduction: Reduction,
    margin: f64,
}

impl Default for HingeEmbedding {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            margin: 1.0,
        }
    }
}

impl Hinge {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// `max(1 − t·x, 0)²`
    #[must_use]
    pub const fn squared(mut self) -> Self {
        self.squared = true;
        self
    }
}

impl HingeEmbedding {
    /// The mean over all elements, with a margin of 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The distance from which on a pair that differs counts nothing, ≥ 0.
    #[must_use]
    pub const fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }
}

reduced!(Hinge, HingeEmbedding);

impl Loss for Hinge {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        let target = poisoned(&[prediction, target])
            .and_then(|()| numbers(graph, "hinge", &prediction.shape(), target))
            .and_then(|t| comparable(graph, "hinge", prediction, t).map(|()| t));
        let t = match target {
            Ok(t) => t.eq(0.0).select(-1.0, t),
            Err(poison) => return poison,
        };
        let losses = (-(t * prediction) + 1.0).relu();
        self.reduction.of(match self.squared {
            true => losses.square(),
            false => losses,
        })
    }
}

impl Loss for HingeEmbedding {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        let (graph, x) = (scope.graph(), prediction);
        let target = poisoned(&[x, target])
            .and_then(|()| numbers(graph, "hinge_embedding", &x.shape(), target))
            .and_then(|t| comparable(graph, "hinge_embedding", x, t).map(|()| t));
        let target = target.and_then(|t| {
            at_least(graph, "hinge_embedding", "margin", self.margin, 0.0).map(|()| t)
        });
        let t = match target {
            Ok(t) => t,
            Err(poison) => return poison,
        };
        // Both where a target is neither, as in PyTorch.
        let alike = t.ne(-1.0).select(x, 0.0);
        let other = t.ne(1.0).select((self.margin - x).relu(), 0.0);
        self.reduction.of(alike + other)
    }
}
