//! Stochastic gradient descent.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::{Expected, check, row, word};

/// Stochastic gradient descent with momentum.
///
/// ```text
/// g ← g + weight_decay · p
/// b ← g                                    in the first step
/// b ← momentum · b + (1 − dampening) · g   in later steps
/// p ← p − learning_rate · b                or, Nesterov:  g + momentum · b
/// ```
///
/// State `momentum_buffer` if momentum is not 0.
/// Source: Sutskever, Martens, Dahl & Hinton (2013).
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    learning_rate: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
}

impl Sgd {
    /// Plain gradient descent with this learning rate, > 0.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        }
    }

    /// Share of the last update that is kept, ≥ 0; 0.9 is common.
    #[must_use]
    pub const fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Share of the gradient that is left out of the momentum from the second step on.
    #[must_use]
    pub const fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Strength of the penalty `½ · weight_decay · p²`, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Looks ahead along the momentum. Needs momentum and no dampening.
    #[must_use]
    pub const fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    fn check(&self, var: Var<'_>) {
        check(
            var,
            "sgd",
            "learning rate",
            self.learning_rate,
            Expected::Positive,
        );
        check(var, "sgd", "momentum", self.momentum, Expected::NotNegative);
        check(
            var,
            "sgd",
            "weight decay",
            self.weight_decay,
            Expected::NotNegative,
        );
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let message = "nesterov needs momentum above 0 and dampening 0".to_string();
            var.graph().fail("sgd", message);
        }
    }
}

impl Optimizer for Sgd {
    fn states(&self) -> Vec<&'static str> {
        (self.momentum != 0.0)
            .then_some("momentum_buffer")
            .into_iter()
            .collect()
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let share = if step == 0 { 1.0 } else { 1.0 - self.dampening };
        row(&[rate.learning_rate, share, rate.momentum])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.check(param);
        let grad = match self.weight_decay {
            0.0 => grad,
            decay => grad + param * decay,
        };
        let rate = word(param, 0);
        let Some(&buffer) = states.first() else {
            return Update {
                param: param - rate * grad,
                states: Vec::new(),
            };
        };
        // The buffer starts at 0, so only the share differs in the first step.
        let share = match self.dampening {
            0.0 => grad,
            _ => grad * word(param, 1),
        };
        let momentum = word(param, 2);
        let buffer = buffer * momentum + share;
        let direction = if self.nesterov {
            grad + buffer * momentum
        } else {
            buffer
        };
        Update {
            param: param - rate * direction,
            states: vec![buffer],
        }
    }
}
