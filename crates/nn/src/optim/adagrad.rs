//! Adagrad.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::{Expected, checks, decayed, row, wants, word};

/// Adagrad: steps divided by the root of the sum of all squared gradients.
///
/// ```text
/// g ← g + weight_decay · p
/// s ← s + g²                                                    s starts at initial
/// p ← p − learning_rate / (1 + (t − 1) lr_decay) · g / (√s + eps)      t = 1, 2, …
/// ```
///
/// State `sum` (s). Source: Duchi, Hazan & Singer (2011), JMLR 12.
#[derive(Clone, Debug, PartialEq)]
pub struct Adagrad {
    learning_rate: f64,
    lr_decay: f64,
    weight_decay: f64,
    initial: f64,
    eps: f64,
}

impl Adagrad {
    /// Adagrad with this learning rate, > 0; PyTorch's is 1e-2. Eps 1e-10, sums from 0.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial: 0.0,
            eps: 1e-10,
        }
    }

    /// How fast the learning rate falls, ≥ 0.
    #[must_use]
    pub const fn lr_decay(mut self, lr_decay: f64) -> Self {
        self.lr_decay = lr_decay;
        self
    }

    /// Strength of the penalty `½ · weight_decay · p²`, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// What the sums start at, ≥ 0.
    #[must_use]
    pub const fn initial_accumulator_value(mut self, initial: f64) -> Self {
        self.initial = initial;
        self
    }

    /// Added to the root, > 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    fn check(&self, var: Var<'_>) {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("lr decay", self.lr_decay, Expected::NotNegative),
            ("weight decay", self.weight_decay, Expected::NotNegative),
            (
                "initial accumulator value",
                self.initial,
                Expected::NotNegative,
            ),
            ("eps", self.eps, Expected::Positive),
        ];
        checks(var, "adagrad", &settings);
    }
}

impl Optimizer for Adagrad {
    fn states(&self) -> Vec<&'static str> {
        vec!["sum"]
    }

    #[allow(clippy::cast_possible_truncation, reason = "states are f32")]
    fn initial(&self, _: usize) -> f32 {
        self.initial as f32
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: 0.0,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        row(&[rate.learning_rate / (1.0 + f64::from(step) * self.lr_decay)])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.check(param);
        if let Err(update) = wants("adagrad", self, param, states) {
            return update;
        }
        let grad = decayed(grad, param, self.weight_decay);
        let squares = states.iter().fold(grad.square(), |sum, &s| sum + s);
        Update {
            param: param - word(param, 0) * (grad / (squares.sqrt() + self.eps)),
            states: vec![squares],
        }
    }
}
