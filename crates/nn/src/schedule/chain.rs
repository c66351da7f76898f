//! Schedules one after another, and at the same time.

use std::sync::Arc;

use gradus_graph::{At, Rate};

use super::{Schedule, Unit};

/// Schedules one after another, each with a time of its own that begins with it. PyTorch's
/// `SequentialLR`.
///
/// ```
/// use gradus_graph::{At, Rate};
/// use gradus_nn::schedule::{Constant, Exponential, Schedule, Sequence};
///
/// let slow = Sequence::steps(Constant::steps(0.1, 100)).then(100, Exponential::steps(0.9));
/// let base = Rate { learning_rate: 1.0, momentum: 0.0 };
/// assert_eq!(slow.rate(base, &At::step(101)).learning_rate, 0.9);
/// ```
///
/// A schedule that watches a loss must be the last one; one that counts otherwise than the
/// sequence counts from the beginning.
#[derive(Clone, Debug)]
pub struct Sequence {
    first: Arc<dyn Schedule>,
    later: Vec<(u32, Arc<dyn Schedule>)>,
    unit: Unit,
}

/// Schedules at the same time: the rate of each is the base of the next. PyTorch's
/// `ChainedScheduler`.
#[derive(Clone, Debug)]
pub struct Chained {
    all: Vec<Arc<dyn Schedule>>,
}

impl Sequence {
    /// Begins with this schedule; others follow at numbers of steps.
    pub fn steps(first: impl Schedule + 'static) -> Self {
        Self {
            first: Arc::new(first),
            later: Vec::new(),
            unit: Unit::Steps,
        }
    }

    /// Begins with this schedule; others follow at numbers of epochs.
    pub fn epochs(first: impl Schedule + 'static) -> Self {
        Self {
            unit: Unit::Epochs,
            ..Self::steps(first)
        }
    }

    /// This schedule from that step (or epoch) on, counted from 0.
    #[must_use]
    pub fn then(mut self, start: u32, schedule: impl Schedule + 'static) -> Self {
        self.later.push((start, Arc::new(schedule)));
        self
    }
}

impl Chained {
    /// This schedule alone.
    pub fn new(schedule: impl Schedule + 'static) -> Self {
        Self {
            all: vec![Arc::new(schedule)],
        }
    }

    /// And this one. Only one of them may watch a loss.
    #[must_use]
    pub fn with(mut self, schedule: impl Schedule + 'static) -> Self {
        self.all.push(Arc::new(schedule));
        self
    }
}

impl Schedule for Sequence {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let t = self.unit.count(at);
        let now = self.later.iter().rfind(|(start, _)| *start <= t);
        let Some((start, schedule)) = now else {
            return self.first.rate(base, at);
        };
        schedule.rate(base, &self.unit.since(at, *start))
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        let last = self.later.last().map_or(&self.first, |(_, last)| last);
        last.observe(memory, loss);
    }

    fn mistake(&self) -> Option<String> {
        let starts = || self.later.iter().map(|(start, _)| *start);
        let rising = starts().zip(starts().skip(1)).all(|(a, b)| a < b);
        let unordered = "each schedule of a sequence must begin after the one before";
        let all = std::iter::once(&self.first).chain(self.later.iter().map(|(_, s)| s));
        let mut mistakes = all.filter_map(|schedule| schedule.mistake());
        mistakes
            .next()
            .or_else(|| (!rising).then(|| unordered.to_owned()))
    }
}

impl Schedule for Chained {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        self.all.iter().fold(base, |rate, next| next.rate(rate, at))
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        // Those that watch nothing leave the memory alone.
        for schedule in &self.all {
            schedule.observe(memory, loss);
        }
    }

    fn mistake(&self) -> Option<String> {
        self.all.iter().find_map(|schedule| schedule.mistake())
    }
}
