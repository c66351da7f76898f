//! Dropout.

use gradus_graph::{Layer, Scope, Var};

/// While training, zeros each element with probability `rate` and scales the others by
/// `1 / (1 − rate)`, so that the mean stays; otherwise the identity. Any shape.
///
/// The mask depends on the seed, the layer's path and the step alone: it is the same on every
/// device. Source: Srivastava et al. (2014), *Dropout*, JMLR 15.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// Zeros with probability `rate`, in `[0, 1)`; another rate is an error when the model is
    /// built.
    pub const fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl Layer for Dropout {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        scope.dropout(x, self.rate)
    }
}
