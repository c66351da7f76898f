//! Mean absolute error.

use gradus_graph::{Scope, Var};

use super::{Loss, Reduction, comparable};

/// Mean absolute error: `[B, …], [B, …] -> []`, both `f32`.
///
/// ```text
/// mean |prediction − target|
/// ```
///
/// The derivative is 0 where both are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L1 {
    reduction: Reduction,
}

impl L1 {
    /// The mean over all elements.
    pub fn new() -> Self {
        Self::default()
    }
}

reduced!(L1);

impl Loss for L1 {
    fn forward<'g>(&self, scope: &Scope<'g>, prediction: Var<'g>, target: Var<'g>) -> Var<'g> {
        if let Err(poison) = comparable(scope.graph(), "l1", prediction, target) {
            return poison;
        }
        self.reduction.of((prediction - target).abs())
    }
}
