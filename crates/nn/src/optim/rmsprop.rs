//! RMSprop.

use gradus_graph::{At, Optimizer, Rate, Update, Var};

use super::{Expected, checks, decayed, row, wants, word};

/// RMSprop: steps divided by the root mean square of recent gradients.
///
/// ```text
/// g ← g + weight_decay · p
/// v ← alpha · v + (1 − alpha) g²
/// a ← alpha · a + (1 − alpha) g                      if centered, otherwise 0
/// d ← g / (√(v − a²) + eps)
/// b ← momentum · b + d                               if momentum is not 0, otherwise d
/// p ← p − learning_rate · b
/// ```
///
/// States `square_avg` (v), `grad_avg` (a) if centered, `momentum_buffer` (b) with momentum.
/// Source: Tieleman & Hinton (2012), lecture 6.5; centered: Graves (2013), arXiv:1308.0850.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsProp {
    learning_rate: f64,
    alpha: f64,
    eps: f64,
    momentum: f64,
    centered: bool,
    weight_decay: f64,
}

impl RmsProp {
    /// RMSprop with this learning rate, > 0; PyTorch's is 1e-2. Alpha 0.99, eps 1e-8, no
    /// momentum.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            alpha: 0.99,
            eps: 1e-8,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
        }
    }

    /// Decay of the averages, in [0, 1).
    #[must_use]
    pub const fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Added to the root, > 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Share of the last update that is kept, ≥ 0.
    #[must_use]
    pub const fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Divides by the standard deviation of recent gradients.
    #[must_use]
    pub const fn centered(mut self) -> Self {
        self.centered = true;
        self
    }

    /// Strength of the penalty `½ · weight_decay · p²`, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    fn check(&self, var: Var<'_>) {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("alpha", self.alpha, Expected::Share),
            ("eps", self.eps, Expected::Positive),
            ("momentum", self.momentum, Expected::NotNegative),
            ("weight decay", self.weight_decay, Expected::NotNegative),
        ];
        checks(var, "rmsprop", &settings);
    }
}

impl Optimizer for RmsProp {
    fn states(&self) -> Vec<&'static str> {
        let mut names = vec!["square_avg"];
        names.extend(self.centered.then_some("grad_avg"));
        names.extend((self.momentum != 0.0).then_some("momentum_buffer"));
        names
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
        }
    }

    fn row(&self, _: u32, rate: Rate) -> Vec<f32> {
        row(&[rate.learning_rate, rate.momentum])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.check(param);
        if let Err(update) = wants("rmsprop", self, param, states) {
            return update;
        }
        let grad = decayed(grad, param, self.weight_decay);
        let mut states = states.iter().copied();
        let mut next = |gain: Var<'g>| {
            let state = states.next().unwrap_or(gain);
            state * self.alpha + gain * (1.0 - self.alpha)
        };
        let square = next(grad.square());
        let mut new = vec![square];
        let variance = if self.centered {
            let mean = next(grad);
            new.push(mean);
            // Rounding may leave a little less than nothing.
            (square - mean.square()).maximum(0.0)
        } else {
            square
        };
        let mut direction = grad / (variance.sqrt() + self.eps);
        if let Some(buffer) = states.next() {
            direction = buffer * word(param, 1) + direction;
            new.push(direction);
        }
        Update {
            param: param - word(param, 0) * direction,
            states: new,
        }
    }
}
