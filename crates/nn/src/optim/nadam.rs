//! NAdam.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

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
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    momentum_decay: f64,
    decoupled: bool,
}

impl NAdam {
    /// NAdam with this learning rate, > 0; PyTorch's is 2e-3. Betas 0.9 and 0.999, eps 1e-8,
    /// momentum decay 4e-3.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled: false,
        }
    }

    /// Decay of the averages of the gradient and of its square, each in [0, 1).
    #[must_use]
    pub const fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        self.beta1 = beta1;
        self.beta2 = beta2;
        self
    }

    /// Added to the denominator, > 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// How fast the momentum grows (ψ), ≥ 0.
    #[must_use]
    pub const fn momentum_decay(mut self, psi: f64) -> Self {
        self.momentum_decay = psi;
        self
    }

    /// Strength of the penalty `½ · weight_decay · p²`, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
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
            learning_rate: self.learning_rate,
            momentum: self.beta1,
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
        let (_, second) = bias_corrections(step, beta1, self.beta2);
        row(&[
            lr * (1.0 - mu(now)) / (1.0 - product),
            lr * next / (1.0 - product * next),
            second,
            beta1,
            1.0 - beta1,
            1.0 - lr * self.weight_decay,
        ])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("beta1", self.beta1, Expected::Share),
            ("beta2", self.beta2, Expected::Share),
            ("eps", self.eps, Expected::Positive),
            ("weight decay", self.weight_decay, Expected::NotNegative),
            ("momentum decay", self.momentum_decay, Expected::NotNegative),
        ];
        checks(param, "nadam", &settings);
        if let Err(unchanged) = wants("nadam", self, param, states) {
            return unchanged;
        }
        let (param, grad) = decay(param, grad, self.weight_decay, self.decoupled.then_some(5));
        let m = states[0] * word(param, 3) + grad * word(param, 4);
        let v = states[1] * self.beta2 + grad.square() * (1.0 - self.beta2);
        let step = grad * word(param, 0) + m * word(param, 1);
        Update {
            param: param - step / (v.sqrt() * word(param, 2) + self.eps),
            states: vec![m, v],
        }
    }
}
