//! One cycle: up, down, and far down.

use std::f64::consts::PI;

use gradus_graph::{At, Rate};

use super::{Schedule, Unit, positive};

/// One cycle: from `base / div` up to `base`, the largest rate, then down to
/// `base / (div · final_div)`, along half waves; momentum the other way round.
///
/// ```text
/// up    t from 0 to u = rise · total − 1
/// down  t from u to total − 1
/// half wave from a to b:  b + (a − b) · (1 + cos(π · share)) / 2
/// ```
///
/// With [`OneCycle::three_phases`] it goes down as it came up, to `base / div` at `2 u`, and then
/// to the last rate.
///
/// Defaults and formulas are those of PyTorch's `OneCycleLR`; after `total` the last rate stays.
/// Source: Smith & Topin (2018), arXiv:1708.07120.
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycle {
    total: u32,
    rise: f64,
    div: f64,
    final_div: f64,
    momentum: Option<(f64, f64)>,
    linear: bool,
    three_phases: bool,
    unit: Unit,
}

impl OneCycle {
    /// A cycle of `total` steps. Rise 0.3, divisors 25 and 10⁴, momentum between 0.85 and 0.95.
    pub const fn steps(total: u32) -> Self {
        Self {
            total,
            rise: 0.3,
            div: 25.0,
            final_div: 1e4,
            momentum: Some((0.85, 0.95)),
            linear: false,
            three_phases: false,
            unit: Unit::Steps,
        }
    }

    /// A cycle of `total` epochs, with the same defaults.
    pub const fn epochs(total: u32) -> Self {
        Self {
            unit: Unit::Epochs,
            ..Self::steps(total)
        }
    }

    /// The share of the cycle in which the rate rises, in (0, 1).
    #[must_use]
    pub const fn rise(mut self, share: f64) -> Self {
        self.rise = share;
        self
    }

    /// The first rate is the largest divided by `div`, the last one the first divided by
    /// `final_div`.
    #[must_use]
    pub const fn divisors(mut self, div: f64, final_div: f64) -> Self {
        self.div = div;
        self.final_div = final_div;
        self
    }

    /// Momentum (β1 of Adam) falls from `most` to `least` while the rate rises, and rises again.
    #[must_use]
    pub const fn momentum(mut self, least: f64, most: f64) -> Self {
        self.momentum = Some((least, most));
        self
    }

    /// The optimizer's momentum stays.
    #[must_use]
    pub const fn constant_momentum(mut self) -> Self {
        self.momentum = None;
        self
    }

    /// Along lines instead of half waves.
    #[must_use]
    pub const fn linear(mut self) -> Self {
        self.linear = true;
        self
    }

    /// Down as it came up, and then to the last rate; `rise` is at most ½. PyTorch's
    /// `three_phase`.
    #[must_use]
    pub const fn three_phases(mut self) -> Self {
        self.three_phases = true;
        self
    }

    fn between(&self, a: f64, b: f64, share: f64) -> f64 {
        if self.linear {
            a + (b - a) * share
        } else {
            b + (a - b) / 2.0 * (1.0 + (PI * share).cos())
        }
    }
}

impl Schedule for OneCycle {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let last = f64::from(self.total) - 1.0;
        let (t, top) = (
            f64::from(self.unit.count(at)).min(last),
            self.rise * f64::from(self.total) - 1.0,
        );
        let largest = base.learning_rate;
        let first = largest / self.div;
        let end = first / self.final_div;
        let (least, most) = self.momentum.unwrap_or((base.momentum, base.momentum));
        let down = 2.0 * self.rise * f64::from(self.total) - 2.0;
        // From when to when, and from what to what.
        let (begin, close, rates, momenta) = if t <= top {
            (0.0, top, (first, largest), (most, least))
        } else if !self.three_phases {
            (top, last, (largest, end), (least, most))
        } else if t <= down {
            (top, down, (largest, first), (least, most))
        } else {
            (down, last, (first, end), (most, most))
        };
        let share = (t - begin) / (close - begin);
        let momentum = self.between(momenta.0, momenta.1, share);
        Rate {
            learning_rate: self.between(rates.0, rates.1, share),
            // Where there is no momentum there is none to cycle.
            momentum: if base.momentum == 0.0 { 0.0 } else { momentum },
        }
    }

    fn mistake(&self) -> Option<String> {
        let share = self.rise > 0.0 && self.rise < 1.0;
        let total = f64::from(self.total);
        let momentum = self
            .momentum
            .filter(|(a, b)| !(0.0 <= *a && a <= b && *b < 1.0));
        positive("the first divisor", self.div)
            .or_else(|| positive("the last divisor", self.final_div))
            .or_else(|| (!share).then(|| format!("rise must lie in (0, 1), found {}", self.rise)))
            .or_else(|| {
                let half = !self.three_phases || self.rise <= 0.5;
                (!half).then(|| {
                    let found = self.rise;
                    format!("with three phases rise must be at most 0.5, found {found}")
                })
            })
            .or_else(|| {
                let long = self.rise * total > 1.0;
                (!long).then(|| format!("a cycle of {total} is too short to rise and fall"))
            })
            .or_else(|| {
                let (a, b) = momentum?;
                Some(format!(
                    "momentum must rise within [0, 1), found {a} and {b}"
                ))
            })
    }
}
