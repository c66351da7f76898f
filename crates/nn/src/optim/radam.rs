//! RAdam.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::moments::{Moments, moments};
use super::{bias_corrections, decay, row, wants, word};

/// RAdam: Adam whose first steps are not divided by a mean square that is known too badly.
///
/// ```text
/// g ← g + weight_decay · p
/// m ← β1 m + (1 − β1) g
/// v ← β2 v + (1 − β2) g²
/// ρ∞ = 2 / (1 − β2) − 1, ρ = ρ∞ − 2 t β2ᵗ / (1 − β2ᵗ)      t = 1, 2, …
/// r = √((ρ − 4) (ρ − 2) ρ∞ / ((ρ∞ − 4) (ρ∞ − 2) ρ))
/// p ← p − learning_rate / (1 − β1ᵗ) · m · r √(1 − β2ᵗ) / (√v + eps)      where ρ > 5
/// p ← p − learning_rate / (1 − β1ᵗ) · m                                 before
/// ```
///
/// States `exp_avg` (m) and `exp_avg_sq` (v).
/// Source: Liu et al. (2019), arXiv:1908.03265, algorithm 2.
#[derive(Clone, Debug, PartialEq)]
pub struct RAdam {
    moments: Moments,
    decoupled: bool,
}

moments!(
    RAdam,
    moments,
    "Strength of the penalty `½ · weight_decay · p²`, ≥ 0."
);

impl RAdam {
    /// RAdam with this learning rate, > 0; PyTorch's is 1e-3. Betas 0.9 and 0.999, eps 1e-8.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            moments: Moments::new(learning_rate),
            decoupled: false,
        }
    }

    /// Weight decay shrinks parameters directly, as that of [`AdamW`](crate::AdamW).
    #[must_use]
    pub const fn decoupled(mut self) -> Self {
        self.decoupled = true;
        self
    }
}

impl Optimizer for RAdam {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.moments.learning_rate,
            momentum: self.moments.beta1,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let (t, beta1, beta2) = (f64::from(step) + 1.0, rate.momentum, self.moments.beta2);
        let (first, second) = bias_corrections(step, beta1, beta2);
        let most = 2.0 / (1.0 - beta2) - 1.0;
        let rho = most - 2.0 * t * beta2.powf(t) / (1.0 - beta2.powf(t));
        let known = (rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho);
        row(&[
            rate.learning_rate * first,
            // 0 says that v is not known.
            if rho > 5.0 {
                known.sqrt() / second
            } else {
                0.0
            },
            beta1,
            1.0 - beta1,
            1.0 - rate.learning_rate * self.moments.weight_decay,
        ])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.moments.check(param, "radam");
        if let Err(unchanged) = wants("radam", self, param, states) {
            return unchanged;
        }
        let (param, grad) = decay(
            param,
            grad,
            self.moments.weight_decay,
            self.decoupled.then_some(4),
        );
        let m = states[0] * word(param, 2) + grad * word(param, 3);
        let v = states[1] * self.moments.beta2 + grad.square() * (1.0 - self.moments.beta2);
        let known = word(param, 1);
        let scale = known
            .gt(0.0)
            .select(known / (v.sqrt() + self.moments.eps), 1.0);
        Update {
            param: param - word(param, 0) * m * scale,
            states: vec![m, v],
        }
    }
}
