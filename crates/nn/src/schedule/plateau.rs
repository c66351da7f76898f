//! A smaller rate when the loss no longer falls.

use gradus_graph::{At, Rate};

use super::{Schedule, positive};

/// Differences of learning rates that are not worth a change, as PyTorch's.
const EPS: f64 = 1e-8;

/// A smaller rate when the loss no longer falls: times `factor` after more than `patience` epochs
/// without one whose loss is below `(1 − threshold) · best`. After that it waits for `cooldown`
/// epochs before it counts again.
///
/// `fit` shows it the loss of the validation samples, a loop by hand tells it with
/// `Model::end_epoch`. PyTorch's `ReduceLROnPlateau`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    factor: f64,
    patience: u32,
    threshold: f64,
    cooldown: u32,
    min: f64,
}

impl Plateau {
    /// Factor 0.1, patience 10, threshold 1e-4, no cooldown, down to 0.
    pub const fn new() -> Self {
        Self {
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min: 0.0,
        }
    }

    /// What the rate is multiplied with, in (0, 1).
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Epochs without a better loss that pass before the rate falls.
    #[must_use]
    pub const fn patience(mut self, epochs: u32) -> Self {
        self.patience = epochs;
        self
    }

    /// The share by which a better loss is lower, in [0, 1).
    #[must_use]
    pub const fn threshold(mut self, share: f64) -> Self {
        self.threshold = share;
        self
    }

    /// Epochs after a change that do not count.
    #[must_use]
    pub const fn cooldown(mut self, epochs: u32) -> Self {
        self.cooldown = epochs;
        self
    }

    /// The least learning rate, ≥ 0.
    #[must_use]
    pub const fn min(mut self, learning_rate: f64) -> Self {
        self.min = learning_rate;
        self
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Self::new()
    }
}

/// Best loss, epochs since, epochs to wait, how often the rate fell.
type Memory = [f64; 4];

fn read(memory: &[f64]) -> Memory {
    memory.try_into().unwrap_or([f64::INFINITY, 0.0, 0.0, 0.0])
}

impl Schedule for Plateau {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let [.., falls] = read(at.memory);
        let mut learning_rate = base.learning_rate;
        let mut done = 0.0;
        while done < falls {
            let next = (learning_rate * self.factor).max(self.min);
            if learning_rate - next <= EPS {
                break;
            }
            (learning_rate, done) = (next, done + 1.0);
        }
        Rate {
            learning_rate,
            ..base
        }
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        let [mut best, mut bad, mut wait, mut falls] = read(memory);
        // A loss that is no number is not better.
        let better = loss < best * (1.0 - self.threshold);
        (best, bad) = if better {
            (loss, 0.0)
        } else {
            (best, bad + 1.0)
        };
        if wait > 0.0 {
            (wait, bad) = (wait - 1.0, 0.0);
        }
        if bad > f64::from(self.patience) {
            (falls, wait, bad) = (falls + 1.0, f64::from(self.cooldown), 0.0);
        }
        *memory = vec![best, bad, wait, falls];
    }

    fn mistake(&self) -> Option<String> {
        let within = |name: &str, value: f64, fits: bool| {
            (!fits).then(|| format!("{name} must be below 1, found {value}"))
        };
        positive("factor", self.factor)
            .or_else(|| within("factor", self.factor, self.factor < 1.0))
            .or_else(|| {
                within(
                    "threshold",
                    self.threshold,
                    (0.0..1.0).contains(&self.threshold),
                )
            })
            .or_else(|| {
                let fits = self.min >= 0.0;
                (!fits).then(|| format!("min must be 0 or more, found {}", self.min))
            })
    }
}
