//! A smaller rate when the loss no longer falls.

use gradus_graph::{At, Rate};

use super::{Schedule, positive};

/// A smaller rate when the loss no longer falls: times `factor` after more than `patience` epochs
/// without a better one. After that it waits for `cooldown` epochs before it counts again.
///
/// ```text
/// better   loss < best · (1 − threshold)      threshold
///          loss < best − threshold            threshold_abs
///          the other way round                rising
/// ```
///
/// `fit` shows it the loss of the validation samples, a loop by hand tells it any number with
/// `Model::end_epoch`: for one that is to rise, as an accuracy, there is [`Plateau::rising`].
/// PyTorch's `ReduceLROnPlateau`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    factor: f64,
    patience: u32,
    threshold: f64,
    absolute: bool,
    rising: bool,
    cooldown: u32,
    min: f64,
    eps: f64,
}

impl Plateau {
    /// Factor 0.1, patience 10, threshold 1e-4, no cooldown, down to 0.
    pub const fn new() -> Self {
        Self {
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            absolute: false,
            rising: false,
            cooldown: 0,
            min: 0.0,
            eps: 1e-8,
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
        self.absolute = false;
        self
    }

    /// The number by which a better loss is lower, ≥ 0: PyTorch's `threshold_mode="abs"`.
    #[must_use]
    pub const fn threshold_abs(mut self, difference: f64) -> Self {
        self.threshold = difference;
        self.absolute = true;
        self
    }

    /// More is better: PyTorch's `mode="max"`.
    #[must_use]
    pub const fn rising(mut self) -> Self {
        self.rising = true;
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

    /// The least change of the rate that is made, ≥ 0; 1e-8 unless set.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// A number that is none is not better.
    fn better(&self, loss: f64, best: f64) -> bool {
        match (self.rising, self.absolute) {
            (false, false) => loss < best * (1.0 - self.threshold),
            (false, true) => loss < best - self.threshold,
            (true, false) => loss > best * (1.0 + self.threshold),
            (true, true) => loss > best + self.threshold,
        }
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Self::new()
    }
}

/// Best loss, epochs since, epochs to wait, how often the rate fell.
type Memory = [f64; 4];

fn read(memory: &[f64]) -> Option<Memory> {
    memory.try_into().ok()
}

impl Schedule for Plateau {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let [.., falls] = read(at.memory).unwrap_or_default();
        let mut learning_rate = base.learning_rate;
        let mut done = 0.0;
        while done < falls {
            let next = (learning_rate * self.factor).max(self.min);
            if learning_rate - next <= self.eps {
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
        let worst = match self.rising {
            true => f64::NEG_INFINITY,
            false => f64::INFINITY,
        };
        let before = read(memory).unwrap_or([worst, 0.0, 0.0, 0.0]);
        let [mut best, mut bad, mut wait, mut falls] = before;
        (best, bad) = if self.better(loss, best) {
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
                let fits = (0.0..1.0).contains(&self.threshold);
                within("threshold", self.threshold, fits || self.absolute)
            })
            .or_else(|| {
                let fits = self.threshold >= 0.0 && self.threshold.is_finite();
                let found = self.threshold;
                (!fits).then(|| format!("threshold must be 0 or more, found {found}"))
            })
            .or_else(|| {
                let fits = self.eps >= 0.0;
                (!fits).then(|| format!("eps must be 0 or more, found {}", self.eps))
            })
            .or_else(|| {
                let fits = self.min >= 0.0;
                (!fits).then(|| format!("min must be 0 or more, found {}", self.min))
            })
    }
}
