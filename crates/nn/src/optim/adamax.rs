//! Adamax.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::{Expected, bias_corrections, checks, decayed, row, wants, word};

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
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

impl Adamax {
    /// Adamax with this learning rate, > 0; PyTorch's is 2e-3. Betas 0.9 and 0.999, eps 1e-8.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }

    /// Decay of the average and of the largest gradient, each in [0, 1).
    #[must_use]
    pub const fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        self.beta1 = beta1;
        self.beta2 = beta2;
        self
    }

    /// Added to the size of the gradient, > 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Strength of the penalty `½ · weight_decay · p²`, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Adamax {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_inf"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: self.beta1,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let beta1 = rate.momentum;
        let (first, _) = bias_corrections(step, beta1, self.beta2);
        row(&[rate.learning_rate * first, beta1, 1.0 - beta1])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("beta1", self.beta1, Expected::Share),
            ("beta2", self.beta2, Expected::Share),
            ("eps", self.eps, Expected::Positive),
            ("weight decay", self.weight_decay, Expected::NotNegative),
        ];
        checks(param, "adamax", &settings);
        if let Err(unchanged) = wants("adamax", self, param, states) {
            return unchanged;
        }
        let grad = decayed(grad, param, self.weight_decay);
        let m = states[0] * word(param, 1) + grad * word(param, 2);
        let u = (states[1] * self.beta2).maximum(grad.abs() + self.eps);
        Update {
            param: param - word(param, 0) * (m / u),
            states: vec![m, u],
        }
    }
}
