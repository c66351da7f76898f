//! A slow beginning before another schedule.

use gradus_graph::{At, Rate};

use super::{Schedule, Unit, positive, scaled};

/// A slow beginning: from `base · start` to `base` along a line, then `base`, or another schedule
/// that begins at that moment.
///
/// ```text
/// base · (start + (1 − start) · t / total)   for t < total
/// ```
///
/// PyTorch's `LinearLR` in a `SequentialLR`. Source: Goyal et al. (2017), arXiv:1706.02677.
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup<S = ()> {
    start: f64,
    total: u32,
    unit: Unit,
    then: S,
}

impl Warmup {
    /// From 0 to the base in `total` steps.
    pub const fn steps(total: u32) -> Self {
        Self {
            start: 0.0,
            total,
            unit: Unit::Steps,
            then: (),
        }
    }

    /// From 0 to the base in `total` epochs.
    pub const fn epochs(total: u32) -> Self {
        Self {
            start: 0.0,
            total,
            unit: Unit::Epochs,
            then: (),
        }
    }

    /// The factor of the first rate, in [0, 1].
    #[must_use]
    pub const fn start(mut self, factor: f64) -> Self {
        self.start = factor;
        self
    }

    /// What follows. Its own time begins when the warm-up is over, if it counts the same; a
    /// schedule that counts otherwise counts from the beginning.
    #[must_use]
    pub const fn then<S: Schedule>(self, schedule: S) -> Warmup<S> {
        Warmup {
            start: self.start,
            total: self.total,
            unit: self.unit,
            then: schedule,
        }
    }
}

/// No change.
impl Schedule for () {
    fn rate(&self, base: Rate, _: &At<'_>) -> Rate {
        base
    }
}

impl<S: Schedule> Schedule for Warmup<S> {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let t = self.unit.count(at);
        if t < self.total {
            let share = f64::from(t) / f64::from(self.total);
            return scaled(base, self.start + (1.0 - self.start) * share);
        }
        self.then.rate(base, &self.unit.since(at, self.total))
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        self.then.observe(memory, loss);
    }

    fn mistake(&self) -> Option<String> {
        let start = (0.0..=1.0).contains(&self.start);
        let start = (!start).then(|| format!("start must lie in [0, 1], found {}", self.start));
        positive("the warm-up", self.total.into())
            .or(start)
            .or_else(|| self.then.mistake())
    }
}
