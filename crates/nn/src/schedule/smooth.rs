//! Schedules along a line and along half a wave.

use std::f64::consts::PI;

use gradus_graph::{At, Rate};

use super::{Schedule, Unit, positive, scaled};

/// From `base` down to a least rate along half a wave:
///
/// ```text
/// min + (base − min) · (1 + cos(π t / total)) / 2
/// ```
///
/// After `total` it rises again, as PyTorch's `CosineAnnealingLR` does.
/// Source: Loshchilov & Hutter (2016), arXiv:1608.03983, without restarts.
#[derive(Clone, Debug, PartialEq)]
pub struct Cosine {
    total: u32,
    min: f64,
    unit: Unit,
}

impl Cosine {
    /// Down to 0 in `total` steps.
    pub const fn steps(total: u32) -> Self {
        let unit = Unit::Steps;
        Self {
            total,
            min: 0.0,
            unit,
        }
    }

    /// Down to 0 in `total` epochs.
    pub const fn epochs(total: u32) -> Self {
        let unit = Unit::Epochs;
        Self {
            total,
            min: 0.0,
            unit,
        }
    }

    /// The least learning rate, ≥ 0.
    #[must_use]
    pub const fn min(mut self, learning_rate: f64) -> Self {
        self.min = learning_rate;
        self
    }
}

impl Schedule for Cosine {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let share = f64::from(self.unit.count(at)) / f64::from(self.total.max(1));
        let wave = (1.0 + (PI * share).cos()) / 2.0;
        Rate {
            learning_rate: self.min + (base.learning_rate - self.min) * wave,
            ..base
        }
    }

    fn mistake(&self) -> Option<String> {
        let least = self.min >= 0.0 && self.min.is_finite();
        let least = (!least).then(|| format!("min must be 0 or more, found {}", self.min));
        positive("the total", self.total.into()).or(least)
    }
}

/// From one factor to another along a line, and then at that:
///
/// ```text
/// base · (start + (end − start) · min(t, total) / total)
/// ```
///
/// PyTorch's `LinearLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    start: f64,
    end: f64,
    total: u32,
    unit: Unit,
}

impl Linear {
    /// From `base · start` to `base · end` in `total` steps; PyTorch's factors are ⅓ and 1.
    pub const fn steps(start: f64, end: f64, total: u32) -> Self {
        let unit = Unit::Steps;
        Self {
            start,
            end,
            total,
            unit,
        }
    }

    /// From `base · start` to `base · end` in `total` epochs.
    pub const fn epochs(start: f64, end: f64, total: u32) -> Self {
        let unit = Unit::Epochs;
        Self {
            start,
            end,
            total,
            unit,
        }
    }
}

impl Schedule for Linear {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let t = self.unit.count(at).min(self.total);
        let share = f64::from(t) / f64::from(self.total.max(1));
        scaled(base, self.start + (self.end - self.start) * share)
    }

    fn mistake(&self) -> Option<String> {
        let factors = [
            ("the first factor", self.start),
            ("the last factor", self.end),
        ];
        let bad = factors
            .into_iter()
            .find(|(_, f)| !(*f >= 0.0 && f.is_finite()));
        let bad = bad.map(|(name, f)| format!("{name} must be 0 or more, found {f}"));
        positive("the total", self.total.into()).or(bad)
    }
}
