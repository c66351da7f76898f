//! Adadelta.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::{Expected, checks, decayed, row, wants, word};

/// Adadelta: steps in the unit of the parameter.
///
/// ```text
/// g ← g + weight_decay · p
/// v ← rho v + (1 − rho) g²
/// Δ ← √(u + eps) / √(v + eps) · g
/// u ← rho u + (1 − rho) Δ²
/// p ← p − learning_rate · Δ
/// ```
///
/// States `square_avg` (v) and `acc_delta` (u).
/// Source: Zeiler (2012), arXiv:1212.5701, algorithm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Adadelta {
    learning_rate: f64,
    rho: f64,
    eps: f64,
    weight_decay: f64,
}

impl Adadelta {
    /// Adadelta with this learning rate, > 0; 1 in the paper and in PyTorch. Rho 0.9, eps 1e-6.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            rho: 0.9,
            eps: 1e-6,
            weight_decay: 0.0,
        }
    }

    /// Decay of both averages, in [0, 1).
    #[must_use]
    pub const fn rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// Added under the roots, > 0.
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

impl Optimizer for Adadelta {
    fn states(&self) -> Vec<&'static str> {
        vec!["square_avg", "acc_delta"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: 0.0,
        }
    }

    fn row(&self, _: u32, rate: Rate) -> Vec<f32> {
        row(&[rate.learning_rate])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("rho", self.rho, Expected::Share),
            ("eps", self.eps, Expected::Positive),
            ("weight decay", self.weight_decay, Expected::NotNegative),
        ];
        checks(param, "adadelta", &settings);
        if let Err(unchanged) = wants("adadelta", self, param, states) {
            return unchanged;
        }
        let grad = decayed(grad, param, self.weight_decay);
        let average = |old: Var<'g>, new: Var<'g>| old * self.rho + new.square() * (1.0 - self.rho);
        let v = average(states[0], grad);
        let delta = (states[1] + self.eps).sqrt() / (v + self.eps).sqrt() * grad;
        Update {
            param: param - word(param, 0) * delta,
            states: vec![v, average(states[1], delta)],
        }
    }
}
