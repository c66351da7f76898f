//! NAdam.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::moments::{Moments, moments};
use super::{Expected, bias_corrections, checks, decay, row, wants, word};

/// A product of momenta below this is 0 beside 1.
const NOTHING: f64 = 1e-20;

/// NAdam: Adam with Nesterov's momentum, which grows towards β1.
///
/// ```text
/// g ← g + weight_decay · p
/// m ← β1 m + (1 − β1) g
/// v ← β2 v + (1 − β2) g²
/// μₜ = β1 (1 − ½ · 0.96^(t ψ)), Πₜ = μ₁ · … · μₜ      t = 1, 2, …
/// d = √v / √(1 − β2ᵗ) + eps
/// p ← p − learning_rate · ((1 − μₜ) / (1 − Πₜ) · g / d + μₜ₊₁ / (1 − Πₜ₊₁) · m / d)
/// ```
///
/// States `exp_avg` (m) and `exp_avg_sq` (v). A schedule of the momentum stands for β1 in all of
/// the product. Source: Dozat (2016), "Incorporating Nesterov momentum into Adam".
#[derive(Clone, Debug, PartialEq)]
pub struct NAdam {
    moments: Moments,
    momentum_decay: f64,
    decoupled: bool,
}

moments!(
    NAdam,
    moments,
    "Strength of the penalty `½ · weight_decay · p²`, ≥ 0."
);

impl NAdam {
    /// NAdam with this learning rate, > 0; PyTorch's is 2e-3. Betas 0.9 and 0.999, eps 1e-8,
    /// momentum decay 4e-3.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            moments: Moments::new(learning_rate),
            momentum_decay: 4e-3,
            decoupled: false,
        }
    }

    /// How fast the momentum grows (ψ), ≥ 0.
    #[must_use]
    pub const fn momentum_decay(mut self, psi: f64) -> Self {
        self.momentum_decay = psi;
        self
    }

    /// Weight decay shrinks parameters directly, as that of [`AdamW`](crate::AdamW).
    #[must_use]
    pub const fn decoupled(mut self) -> Self {
        self.decoupled = true;
        self
    }
}

impl Optimizer for NAdam {
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
        let (lr, beta1) = (rate.learning_rate, rate.momentum);
        let mu = |t: f64| beta1 * (1.0 - 0.5 * 0.96f64.powf(t * self.momentum_decay));
        let now = f64::from(step) + 1.0;
        let mut product = 1.0;
        for t in 0..=step {
            product *= mu(f64::from(t) + 1.0);
            if product < NOTHING {
                break;
            }
        }
        let next = mu(now + 1.0);
        let (_, second) = bias_corrections(step, beta1, self.moments.beta2);
        row(&[
            lr * (1.0 - mu(now)) / (1.0 - product),
            lr * next / (1.0 - product * next),
            second,
            beta1,
            1.0 - beta1,
            1.0 - lr * self.moments.weight_decay,
        ])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.moments.check(param, "nadam");
        let psi = ("momentum decay", self.momentum_decay, Expected::NotNegative);
        checks(param, "nadam", &[psi]);
        if let Err(unchanged) = wants("nadam", self, param, states) {
            return unchanged;
        }
        let (param, grad) = decay(
            param,
            grad,
            self.moments.weight_decay,
            self.decoupled.then_some(5),
        );
        let m = states[0] * word(param, 3) + grad * word(param, 4);
        let v = states[1] * self.moments.beta2 + grad.square() * (1.0 - self.moments.beta2);
        let step = grad * word(param, 0) + m * word(param, 1);
        Update {
            param: param - step / (v.sqrt() * word(param, 2) + self.moments.eps),
            states: vec![m, v],
        }
    }
}
