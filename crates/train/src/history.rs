//! What an epoch left behind.

use std::fmt;

use crate::Scores;

/// Loss and metrics of every epoch of a call of [`Model::fit`](crate::Model::fit).
///
/// Prints one line an epoch; [`History::plot`] draws it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub(crate) epochs: Vec<Epoch>,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Its number, from 1; epochs before [`Model::load`](crate::Model::load) count.
    pub number: u32,
    /// Means over the training samples, each from before its step's update.
    pub train: Scores,
    /// Means over the validation samples after the epoch.
    pub validation: Option<Scores>,
    /// Seconds it took, without validation.
    pub seconds: f64,
}

impl History {
    /// The epochs, in order.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The last epoch; `None` if none ran.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// A score of every epoch, by its name: over the training samples, and over the validation
    /// samples where there are some.
    pub fn curves(&self, name: &str) -> (Vec<f64>, Vec<f64>) {
        let train = self.epochs.iter().filter_map(|e| e.train.get(name));
        let validation = self.epochs.iter().filter_map(|e| e.validation.as_ref());
        let validation = validation.filter_map(|scores| scores.get(name));
        (train.collect(), validation.collect())
    }

    /// The names of the scores: `loss`, then the metrics.
    pub fn names(&self) -> Vec<&str> {
        let first = self.epochs.first().into_iter();
        first
            .flat_map(|e| e.train.iter().map(|(name, _)| name))
            .collect()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, epoch) in self.epochs.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{epoch}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}: {}", self.number, self.train)?;
        if let Some(validation) = &self.validation {
            write!(f, "; validation {validation}")?;
        }
        let rate = self.train.samples() as f64 / self.seconds.max(1e-9);
        write!(f, "; {:.2} s, {rate:.0} samples/s", self.seconds)
    }
}
