//! Adam with decoupled weight decay.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::moments::moments;
use super::{Adam, row, word};

/// Adam with decoupled weight decay: parameters shrink directly, not through the gradient.
///
/// ```text
/// p ← (1 − learning_rate · weight_decay) · p, then Adam's step
/// ```
///
/// States as of [`Adam`]. Source: Loshchilov & Hutter (2017), arXiv:1711.05101, algorithm 2.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW(Adam);

moments!(
    AdamW,
    0.moments,
    "Share of a parameter that goes in a step, in units of the learning rate, ≥ 0."
);

impl AdamW {
    /// AdamW with this learning rate, > 0; PyTorch's is 1e-3. Weight decay 0.01, betas 0.9 and
    /// 0.999, eps 1e-8.
    pub const fn new(learning_rate: f64) -> Self {
        Self(Adam::new(learning_rate).weight_decay(0.01))
    }

    /// Divides by the largest v there was; see [`Adam::amsgrad`].
    #[must_use]
    pub const fn amsgrad(self) -> Self {
        Self(self.0.amsgrad())
    }
}

impl Optimizer for AdamW {
    fn states(&self) -> Vec<&'static str> {
        self.0.states()
    }

    fn rate(&self, at: &At<'_>) -> Rate {
        self.0.rate(at)
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let [size, correction, keep, take] = self.0.factors(step, rate);
        row(&[size, correction, keep, take, self.0.shrink(rate)])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.0.check(param, "adamw");
        self.0.step(param * word(param, 4), grad, states)
    }
}
