//! Adam.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::moments::{Moments, moments};
use super::{bias_corrections, decayed, row, wants, word};

/// Adam.
///
/// ```text
/// g ← g + weight_decay · p
/// m ← β1 m + (1 − β1) g
/// v ← β2 v + (1 − β2) g²
/// p ← p − learning_rate / (1 − β1ᵗ) · m / (√v / √(1 − β2ᵗ) + eps)      t = 1, 2, …
/// ```
///
/// States `exp_avg` (m) and `exp_avg_sq` (v), and `max_exp_avg_sq` for [`Adam::amsgrad`].
/// Source: Kingma & Ba (2014), arXiv:1412.6980, algorithm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    pub(super) moments: Moments,
    amsgrad: bool,
}

moments!(
    Adam,
    moments,
    "Strength of the penalty `½ · weight_decay · p²`, ≥ 0; [`AdamW`](super::AdamW) shrinks parameters directly instead."
);

impl Adam {
    /// Adam with this learning rate, > 0; PyTorch's is 1e-3. Betas 0.9 and 0.999, eps 1e-8.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            moments: Moments::new(learning_rate),
            amsgrad: false,
        }
    }

    /// Divides by the largest v there was: steps never grow again.
    ///
    /// Source: Reddi, Kale & Kumar (2018), arXiv:1904.09237, algorithm 2.
    #[must_use]
    pub const fn amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    #[track_caller]
    pub(super) fn check(&self, var: Var<'_>, name: &'static str) {
        self.moments.check(var, name);
    }

    /// The update without weight decay. The row begins with `learning_rate / (1 − β1ᵗ)`,
    /// `1 / √(1 − β2ᵗ)`, β1 and `1 − β1`.
    pub(super) fn step<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        if let Err(unchanged) = wants("adam", self, param, states) {
            return unchanged;
        }
        let m = states[0] * word(param, 2) + grad * word(param, 3);
        let v = states[1] * self.moments.beta2 + grad.square() * (1.0 - self.moments.beta2);
        let largest = states.get(2).map(|&most| most.maximum(v));
        let denominator = largest.unwrap_or(v).sqrt() * word(param, 1) + self.moments.eps;
        Update {
            param: param - word(param, 0) * (m / denominator),
            states: [m, v].into_iter().chain(largest).collect(),
        }
    }

    /// The row's first words.
    pub(super) fn factors(&self, step: u32, rate: Rate) -> [f64; 4] {
        let beta1 = rate.momentum;
        let (first, second) = bias_corrections(step, beta1, self.moments.beta2);
        [rate.learning_rate * first, second, beta1, 1.0 - beta1]
    }

    /// The factor by which decoupled weight decay shrinks parameters in a step.
    pub(super) fn shrink(&self, rate: Rate) -> f64 {
        1.0 - rate.learning_rate * self.moments.weight_decay
    }
}

impl Optimizer for Adam {
    fn states(&self) -> Vec<&'static str> {
        match self.amsgrad {
            true => vec!["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
            false => vec!["exp_avg", "exp_avg_sq"],
        }
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.moments.learning_rate,
            momentum: self.moments.beta1,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        row(&self.factors(step, rate))
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.check(param, "adam");
        let grad = decayed(grad, param, self.moments.weight_decay);
        self.step(param, grad, states)
    }
}
