//! Schedules in stairs, and the one that decays all the time.

use gradus_graph::{At, Rate};

use super::{Schedule, Unit, positive, scaled};

/// A smaller rate at first: `base · factor` for some time, then `base`. PyTorch's `ConstantLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    factor: f64,
    total: u32,
    unit: Unit,
}

impl Constant {
    /// `base · factor` for `total` steps; PyTorch's are ⅓ and 5.
    pub const fn steps(factor: f64, total: u32) -> Self {
        let unit = Unit::Steps;
        Self {
            factor,
            total,
            unit,
        }
    }

    /// `base · factor` for `total` epochs.
    pub const fn epochs(factor: f64, total: u32) -> Self {
        let unit = Unit::Epochs;
        Self {
            factor,
            total,
            unit,
        }
    }
}

impl Schedule for Constant {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        if self.unit.count(at) < self.total {
            scaled(base, self.factor)
        } else {
            base
        }
    }

    fn mistake(&self) -> Option<String> {
        positive("the factor", self.factor)
    }
}

/// Stairs of equal length: `base · gamma^⌊t / size⌋`. PyTorch's `StepLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDecay {
    size: u32,
    gamma: f64,
    unit: Unit,
}

impl StepDecay {
    /// The rate times `gamma` every `size` steps; PyTorch's gamma is 0.1.
    pub const fn steps(size: u32, gamma: f64) -> Self {
        let unit = Unit::Steps;
        Self { size, gamma, unit }
    }

    /// The rate times `gamma` every `size` epochs.
    pub const fn epochs(size: u32, gamma: f64) -> Self {
        let unit = Unit::Epochs;
        Self { size, gamma, unit }
    }
}

impl Schedule for StepDecay {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let stairs = self.unit.count(at) / self.size.max(1);
        scaled(base, self.gamma.powf(f64::from(stairs)))
    }

    fn mistake(&self) -> Option<String> {
        positive("the size", self.size.into()).or_else(|| positive("gamma", self.gamma))
    }
}

/// Stairs at given times: `base · gamma^k` after `k` of the milestones. PyTorch's `MultiStepLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStep {
    milestones: Vec<u32>,
    gamma: f64,
    unit: Unit,
}

impl MultiStep {
    /// The rate times `gamma` from each of these steps on.
    pub fn steps(milestones: impl Into<Vec<u32>>, gamma: f64) -> Self {
        Self {
            milestones: milestones.into(),
            gamma,
            unit: Unit::Steps,
        }
    }

    /// The rate times `gamma` from each of these epochs on, counted from 0.
    pub fn epochs(milestones: impl Into<Vec<u32>>, gamma: f64) -> Self {
        Self {
            milestones: milestones.into(),
            gamma,
            unit: Unit::Epochs,
        }
    }
}

impl Schedule for MultiStep {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let t = self.unit.count(at);
        let passed = self.milestones.iter().filter(|&&m| m <= t).count();
        scaled(base, self.gamma.powf(passed as f64))
    }

    fn mistake(&self) -> Option<String> {
        positive("gamma", self.gamma)
    }
}

/// `base · gammaᵗ`. PyTorch's `ExponentialLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct Exponential {
    gamma: f64,
    unit: Unit,
}

impl Exponential {
    /// The rate times `gamma` after every step.
    pub const fn steps(gamma: f64) -> Self {
        let unit = Unit::Steps;
        Self { gamma, unit }
    }

    /// The rate times `gamma` after every epoch.
    pub const fn epochs(gamma: f64) -> Self {
        let unit = Unit::Epochs;
        Self { gamma, unit }
    }
}

impl Schedule for Exponential {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        scaled(base, self.gamma.powf(f64::from(self.unit.count(at))))
    }

    fn mistake(&self) -> Option<String> {
        positive("gamma", self.gamma)
    }
}
