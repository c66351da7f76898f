//! Loss and metrics by name.

use std::fmt;
use std::sync::Arc;

use gradus_nn::Metric;

use crate::engine::Done;

/// Loss and metrics of a batch, an epoch or a data set: means, weighted by samples.
///
/// Prints as `loss 0.0731, accuracy 0.9750`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    names: Arc<[String]>,
    values: Vec<f64>,
    samples: usize,
}

impl Scores {
    /// Those of one step. `metrics` are those of `compile`.
    pub(crate) fn of(done: Done, metrics: &[Arc<dyn Metric>]) -> Self {
        let scores = Self {
            names: done.names,
            values: done.values,
            samples: done.samples,
        };
        match done.supervised {
            true => scores.finished(metrics),
            false => scores,
        }
    }

    /// With the metrics, which follow the loss, made of their means.
    fn finished(mut self, metrics: &[Arc<dyn Metric>]) -> Self {
        for (value, metric) in self.values.iter_mut().skip(1).zip(metrics) {
            *value = metric.of_mean(*value);
        }
        self
    }

    /// The loss: the first value of a step that trains.
    pub fn loss(&self) -> f64 {
        self.values.first().copied().unwrap_or(f64::NAN)
    }

    /// The loss, or a metric by its name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter()
            .find_map(|(other, value)| (other == name).then_some(value))
    }

    /// Names and values: the loss, then the metrics in the order of `compile`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> + '_ {
        let names = self.names.iter().map(String::as_str);
        names.zip(self.values.iter().copied())
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
    names: Arc<[String]>,
    sums: Vec<f64>,
    samples: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, done: &Done) {
        self.names = Arc::clone(&done.names);
        self.sums.resize(self.names.len(), 0.0);
        for (sum, value) in self.sums.iter_mut().zip(&done.values) {
            *sum += value * done.samples as f64;
        }
        self.samples += done.samples;
    }

    /// The loss and the metrics of `compile`.
    pub(crate) fn scores(&self, metrics: &[Arc<dyn Metric>]) -> Scores {
        let samples = self.samples as f64;
        let means = Scores {
            names: Arc::clone(&self.names),
            values: self.sums.iter().map(|sum| sum / samples).collect(),
            samples: self.samples,
        };
        means.finished(metrics)
    }
}
