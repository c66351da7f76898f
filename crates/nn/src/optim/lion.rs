//! Lion.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::{Expected, checks, row, wants, word};

/// Lion: steps of one size, in the direction of the sign of a momentum.
///
/// ```text
/// p ← (1 − learning_rate · weight_decay) · p
/// p ← p − learning_rate · sign(β1 m + (1 − β1) g)
/// m ← β2 m + (1 − β2) g
/// ```
///
/// State `exp_avg` (m). Learning rates are a third to a tenth of those of [`AdamW`](crate::AdamW),
/// and weight decay is as many times larger. Source: Chen et al. (2023), arXiv:2302.06675,
/// algorithm 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Lion {
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
}

impl Lion {
    /// Lion with this learning rate, > 0; 1e-4 in the paper. Betas 0.9 and 0.99, no weight decay.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.0,
        }
    }

    /// How much of the momentum makes the direction, and how much of it is kept, each in [0, 1).
    #[must_use]
    pub const fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        self.beta1 = beta1;
        self.beta2 = beta2;
        self
    }

    /// Share of a parameter that goes in a step, in units of the learning rate, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Lion {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: self.beta1,
        }
    }

    fn row(&self, _: u32, rate: Rate) -> Vec<f32> {
        let shrink = 1.0 - rate.learning_rate * self.weight_decay;
        row(&[
            rate.learning_rate,
            rate.momentum,
            1.0 - rate.momentum,
            shrink,
        ])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("beta1", self.beta1, Expected::Share),
            ("beta2", self.beta2, Expected::Share),
            ("weight decay", self.weight_decay, Expected::NotNegative),
        ];
        checks(param, "lion", &settings);
        if let Err(unchanged) = wants("lion", self, param, states) {
            return unchanged;
        }
        let direction = states[0] * word(param, 1) + grad * word(param, 2);
        Update {
            param: param * word(param, 3) - word(param, 0) * direction.sign(),
            states: vec![states[0] * self.beta2 + grad * (1.0 - self.beta2)],
        }
    }
}
