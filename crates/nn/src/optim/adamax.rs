//! Adamax.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::moments::{Moments, moments};
use super::{bias_corrections, decayed, row, wants, word};

/// Adamax: Adam with the largest gradient in place of the mean square.
///
/// ```text
/// g ← g + weight_decay · p
/// m ← β1 m + (1 − β1) g
/// u ← max(β2 u, |g| + eps)
/// p ← p − learning_rate / (1 − β1ᵗ) · m / u      t = 1, 2, …
/// ```
///
/// States `exp_avg` (m) and `exp_inf` (u).
/// Source: Kingma & Ba (2014), arXiv:1412.6980, algorithm 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Adamax {
    moments: Moments,
}

moments!(
    Adamax,
    moments,
    "Strength of the penalty `½ · weight_decay · p²`, ≥ 0."
);

impl Adamax {
    /// Adamax with this learning rate, > 0; PyTorch's is 2e-3. Betas 0.9 and 0.999, eps 1e-8.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            moments: Moments::new(learning_rate),
        }
    }
}

impl Optimizer for Adamax {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_inf"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.moments.learning_rate,
            momentum: self.moments.beta1,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let beta1 = rate.momentum;
        let (first, _) = bias_corrections(step, beta1, self.moments.beta2);
        row(&[rate.learning_rate * first, beta1, 1.0 - beta1])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.moments.check(param, "adamax");
        if let Err(unchanged) = wants("adamax", self, param, states) {
            return unchanged;
        }
        let grad = decayed(grad, param, self.moments.weight_decay);
        let m = states[0] * word(param, 1) + grad * word(param, 2);
        let u = (states[1] * self.moments.beta2).maximum(grad.abs() + self.moments.eps);
        Update {
            param: param - word(param, 0) * (m / u),
            states: vec![m, u],
        }
    }
}
