//! Loss and metrics by name.

use std::fmt;

/// Loss and metrics of a batch, an epoch or a data set: means, weighted by samples.
///
/// Prints as `loss 0.0731, accuracy 0.9750`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    values: Vec<(&'static str, f64)>,
    samples: usize,
}

impl Scores {
    pub(crate) fn new(values: impl Iterator<Item = (&'static str, f64)>, samples: usize) -> Self {
        Self {
            values: values.collect(),
            samples,
        }
    }

    /// The loss.
    pub fn loss(&self) -> f64 {
        self.get("loss").unwrap_or(f64::NAN)
    }

    /// The loss, or a metric by its name.
    pub fn get(&self, name: &str) -> Option<f64> {
        let mut values = self.values.iter();
        values.find_map(|&(other, value)| (other == name).then_some(value))
    }

    /// Names and values: the loss, then the metrics in the order of `compile`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.values.iter().copied()
    }

    /// Over how many samples these are means.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {value:.4}")?;
        }
        Ok(())
    }
}

/// Sums of what steps report, on the way to a mean over samples.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    sums: Vec<f64>,
    samples: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, values: &[f64], samples: usize) {
        self.sums.resize(values.len().max(self.sums.len()), 0.0);
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum += value * samples as f64;
        }
        self.samples += samples;
    }

    pub(crate) fn means(&self) -> Vec<f64> {
        let samples = self.samples as f64;
        self.sums.iter().map(|sum| sum / samples).collect()
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }
}
