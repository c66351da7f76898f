//! Schedules: how the learning rate changes during training.
//!
//! Formulas and defaults are PyTorch's. What depends on time counts steps or epochs, as its
//! constructor says: epochs are those of `fit`, and within one the rate stays.

mod chain;
mod decay;
mod noam;
mod one_cycle;
mod plateau;
mod scheduled;
mod smooth;
#[cfg(test)]
mod tests;
mod warmup;

pub use chain::{Chained, Sequence};
pub use decay::{Constant, Exponential, MultiStep, StepDecay};
pub use noam::Noam;
pub use one_cycle::OneCycle;
pub use plateau::Plateau;
pub use scheduled::{OptimizerExt, Scheduled};
pub use smooth::{Cosine, CosineRestarts, Linear, Polynomial};
pub use warmup::Warmup;

use std::fmt::Debug;

use gradus_graph::{At, Rate};

/// A rule for the learning rate (and the momentum) of a step.
pub trait Schedule: Debug + Send + Sync {
    /// The rate at this point of training, for an optimizer that has `base`.
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate;

    /// Takes the loss of an epoch into the memory that [`At::memory`] gives back.
    fn observe(&self, _memory: &mut Vec<f64>, _loss: f64) {}

    /// A setting that is out of range, in words.
    fn mistake(&self) -> Option<String> {
        None
    }
}

/// What a schedule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Steps,
    Epochs,
}

impl Unit {
    /// How many are done.
    const fn count(self, at: &At<'_>) -> u32 {
        match self {
            Self::Steps => at.step,
            Self::Epochs => at.epoch,
        }
    }

    /// The same moment, counted from `start` on.
    const fn since<'a>(self, at: &At<'a>, start: u32) -> At<'a> {
        let mut later = *at;
        match self {
            Self::Steps => later.step = at.step.saturating_sub(start),
            Self::Epochs => later.epoch = at.epoch.saturating_sub(start),
        }
        later
    }
}

/// The same momentum, and the learning rate times `factor`.
fn scaled(base: Rate, factor: f64) -> Rate {
    Rate {
        learning_rate: base.learning_rate * factor,
        ..base
    }
}

/// Words for a number that must be above 0 and finite.
fn positive(name: &str, value: f64) -> Option<String> {
    let fits = value > 0.0 && value.is_finite();
    (!fits).then(|| format!("{name} must be greater than 0, found {value}"))
}
