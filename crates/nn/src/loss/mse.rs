//! Mean squared error.

use gradus_graph::{Scope, Var};

use super::{Loss, Reduction, comparable};

/// Mean squared error: `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean (prediction − target)²
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mse {
    reduction: Reduction,
}

impl Mse {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }
}

reduced!(Mse);

impl Loss for Mse {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        if let Err(poison) = comparable(scope.graph(), "mse", prediction, target) {
            return poison;
        }
        self.reduction.of((prediction - target).square())
    }
}
