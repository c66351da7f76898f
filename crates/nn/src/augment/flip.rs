//! Mirror images.

use gradus_graph::{Layer, Scope, Var};

use super::{chance, positions, spatial, take};

/// While training, mirrors each sample of `[N, C, H, W]` or `[N, C, L]` with a probability;
/// otherwise the identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomFlip {
    vertical: bool,
    probability: f64,
}

impl RandomFlip {
    /// Left and right change places (the last axis), in half of all samples.
    pub const fn horizontal() -> Self {
        Self {
            vertical: false,
            probability: 0.5,
        }
    }

    /// Top and bottom change places (the axis before the last), in half of all samples.
    pub const fn vertical() -> Self {
        Self {
            vertical: true,
            probability: 0.5,
        }
    }

    /// How likely a sample is mirrored, in [0, 1].
    #[must_use]
    pub const fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    fn check(&self, x: Var<'_>) -> Result<Vec<usize>, String> {
        let axes = spatial(x)?;
        if !(0.0..=1.0).contains(&self.probability) {
            let found = self.probability;
            return Err(format!("probability must be in [0, 1], found {found}"));
        }
        match self.vertical && axes.len() < 2 {
            true => Err(format!("{} has no rows to mirror", x.shape())),
            false => Ok(axes),
        }
    }
}

impl Layer for RandomFlip {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let axes = match self.check(x) {
            Ok(axes) => axes,
            Err(message) => return scope.graph().fail("random_flip", message),
        };
        if !scope.training() {
            return x;
        }
        let flipped = axes.len() - if self.vertical { 2 } else { 1 };
        let flip = chance(scope, x, self.probability);
        let places = axes.iter().enumerate().map(|(i, &size)| {
            let place = positions(x, i + 2, size);
            match i == flipped {
                true => flip.select(i32::try_from(size).unwrap_or(i32::MAX) - 1 - place, place),
                false => place,
            }
        });
        take(x, &places.collect::<Vec<_>>(), &axes, 0.0)
    }
}
