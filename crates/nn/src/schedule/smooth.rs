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

/// Down along half a wave, again and again: from `base` to a least rate in `first` steps, then
/// anew in `growth` times as many.
///
/// ```text
/// min + (base − min) · (1 + cos(π t / T)) / 2      t since the last restart, T = first · growthᵏ
/// ```
///
/// PyTorch's `CosineAnnealingWarmRestarts`.
/// Source: Loshchilov & Hutter (2016), arXiv:1608.03983, eq. 5.
#[derive(Clone, Debug, PartialEq)]
pub struct CosineRestarts {
    first: u32,
    growth: u32,
    min: f64,
    unit: Unit,
}

impl CosineRestarts {
    /// Down to 0 in `first` steps, again and again.
    pub const fn steps(first: u32) -> Self {
        Self {
            first,
            growth: 1,
            min: 0.0,
            unit: Unit::Steps,
        }
    }

    /// Down to 0 in `first` epochs, again and again.
    pub const fn epochs(first: u32) -> Self {
        Self {
            unit: Unit::Epochs,
            ..Self::steps(first)
        }
    }

    /// How many times as long each wave is as the one before, ≥ 1; 1 unless set.
    #[must_use]
    pub const fn growth(mut self, times: u32) -> Self {
        self.growth = times;
        self
    }

    /// The least learning rate, ≥ 0.
    #[must_use]
    pub const fn min(mut self, learning_rate: f64) -> Self {
        self.min = learning_rate;
        self
    }
}

impl Schedule for CosineRestarts {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let (mut start, mut length) = (0, self.first.max(1));
        let t = self.unit.count(at);
        if self.growth <= 1 {
            start = t - t % length;
        }
        while t - start >= length {
            start += length;
            length = length.saturating_mul(self.growth);
        }
        let wave = Cosine {
            total: length,
            min: self.min,
            unit: self.unit,
        };
        wave.rate(base, &self.unit.since(at, start))
    }

    fn mistake(&self) -> Option<String> {
        let least = self.min >= 0.0 && self.min.is_finite();
        let least = (!least).then(|| format!("min must be 0 or more, found {}", self.min));
        positive("the first wave", self.first.into())
            .or_else(|| positive("the growth", self.growth.into()))
            .or(least)
    }
}

/// From `base` down to a least rate along a power:
///
/// ```text
/// min + (base − min) · (1 − t / total)^power      until t = total
/// ```
///
/// PyTorch's `PolynomialLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    total: u32,
    power: f64,
    min: f64,
    unit: Unit,
}

impl Polynomial {
    /// Down to 0 in `total` steps; a power of 1 is a line.
    pub const fn steps(total: u32, power: f64) -> Self {
        Self {
            total,
            power,
            min: 0.0,
            unit: Unit::Steps,
        }
    }

    /// Down to 0 in `total` epochs.
    pub const fn epochs(total: u32, power: f64) -> Self {
        Self {
            unit: Unit::Epochs,
            ..Self::steps(total, power)
        }
    }

    /// The least learning rate, ≥ 0.
    #[must_use]
    pub const fn min(mut self, learning_rate: f64) -> Self {
        self.min = learning_rate;
        self
    }
}

impl Schedule for Polynomial {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let t = self.unit.count(at).min(self.total);
        let left = 1.0 - f64::from(t) / f64::from(self.total.max(1));
        Rate {
            learning_rate: self.min + (base.learning_rate - self.min) * left.powf(self.power),
            ..base
        }
    }

    fn mistake(&self) -> Option<String> {
        let least = self.min >= 0.0 && self.min.is_finite();
        let least = (!least).then(|| format!("min must be 0 or more, found {}", self.min));
        positive("the total", self.total.into())
            .or_else(|| positive("the power", self.power))
            .or(least)
    }
}
