//! Comparing a tensor with the reference.

use gradus_graph::{Array, Data};
use serde::Serialize;

use crate::Error;

/// What was found about one tensor.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The kernel, loss, gradient or parameter.
    pub name: String,
    /// The largest error, in units of its bound: at most 1 is a pass.
    pub worst: f64,
    /// Elements compared.
    pub elements: usize,
    /// Elements within their bound of a discontinuity: counted, not judged.
    pub near: usize,
    /// Which they are.
    #[serde(skip)]
    pub(super) near_at: Vec<usize>,
    /// The worst element, if it is too far.
    pub failure: Option<Failure>,
}

/// An element that is too far from the reference.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Its position, row-major.
    pub index: usize,
    /// The device's value.
    pub found: f64,
    /// The reference's value, computed in f64.
    pub expected: f64,
    /// The largest difference allowed.
    pub allowed: f64,
    /// How many elements are too far.
    pub count: usize,
}

/// The reference for one tensor.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    /// Computed in f64.
    pub(super) exact: Vec<f64>,
    /// Computed in f32: shows how far rounding alone leads.
    pub(super) rounded: Vec<f64>,
    /// Terms summed on the way.
    pub(super) terms: f64,
}

/// Relative rounding error of a sum of so many terms: `4ε√K`.
pub(super) fn rounding(terms: f64) -> f64 {
    4.0 * f64::from(f32::EPSILON) * terms.sqrt()
}

impl Reference {
    /// That an array has these very values.
    pub(super) fn bits(array: &Array) -> Self {
        Self {
            exact: numbers(array),
            rounded: numbers(array),
            terms: 0.0,
        }
    }

    /// Lets rounding lead as far as it did in any of these evaluations.
    pub(super) fn widen(&mut self, trials: &[Vec<f64>]) {
        for (i, (rounded, &exact)) in self.rounded.iter_mut().zip(&self.exact).enumerate() {
            let moved = trials.iter().filter_map(|t| t.get(i));
            let moved = moved.map(|v| (v - exact).abs());
            *rounded = exact + moved.fold((*rounded - exact).abs(), f64::max);
        }
    }

    /// Compares. The bound of an element is `4ε√K · max|reference| + 8·|f32 − f64|`.
    ///
    /// `nudged` gives evaluations on either side of discontinuities; it is asked only if
    /// something is too far. Where the reference is not finite, a GPU may give anything, but not
    /// the CPU (`strict`).
    pub(super) fn judge(
        &self,
        name: String,
        found: &[f64],
        strict: bool,
        nudged: impl FnOnce() -> Result<Vec<Vec<f64>>, Error>,
    ) -> Result<Check, Error> {
        let finite = self.exact.iter().map(|v| v.abs()).filter(|v| v.is_finite());
        let base = rounding(self.terms) * finite.fold(0.0, f64::max);
        let mut check = Check {
            name,
            worst: 0.0,
            elements: self.exact.len(),
            near: 0,
            near_at: Vec::new(),
            failure: None,
        };
        let mut far: Vec<Far> = Vec::new();
        if found.len() != self.exact.len() {
            far.push(Far {
                index: found.len().min(self.exact.len()),
                found: f64::NAN,
                expected: f64::NAN,
                allowed: 0.0,
            });
        }
        for (index, (&found, (&expected, &rounded))) in found
            .iter()
            .zip(self.exact.iter().zip(&self.rounded))
            .enumerate()
        {
            let allowed = if expected.is_finite() {
                base + 8.0 * (rounded - expected).abs()
            } else if strict {
                0.0
            } else {
                f64::INFINITY
            };
            let far_by = Far {
                index,
                found,
                expected,
                allowed,
            };
            if far_by.ratio() <= 1.0 {
                check.worst = check.worst.max(far_by.ratio());
            } else {
                far.push(far_by);
            }
        }
        if far.is_empty() {
            return Ok(check);
        }
        let trials = nudged()?;
        let jumps = |f: &Far| {
            let at = trials.iter().filter_map(|t| t.get(f.index));
            let mut moves = at.map(|v| (v - f.expected).abs());
            moves.any(|by| by > f.allowed && by >= 0.25 * (f.found - f.expected).abs())
        };
        let near = far.extract_if(.., |f| jumps(f));
        check.near_at = near.map(|f| f.index).collect();
        check.near = check.near_at.len();
        let worst = far.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        if let Some(worst) = worst {
            check.worst = worst.ratio();
            check.failure = Some(Failure {
                index: worst.index,
                found: worst.found,
                expected: worst.expected,
                allowed: worst.allowed,
                count: far.len(),
            });
        }
        Ok(check)
    }
}

struct Far {
    index: usize,
    found: f64,
    expected: f64,
    allowed: f64,
}

impl Far {
    /// The error in units of its bound.
    fn ratio(&self) -> f64 {
        let same = self.found == self.expected || (self.found.is_nan() && self.expected.is_nan());
        if same || self.allowed == f64::INFINITY {
            return 0.0;
        }
        let error = (self.found - self.expected).abs();
        if error.is_nan() || self.allowed == 0.0 {
            f64::INFINITY
        } else {
            error / self.allowed
        }
    }
}

impl Check {
    /// True if every judged element is within its bound.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// The elements as numbers.
pub(super) fn numbers(array: &Array) -> Vec<f64> {
    match array.data() {
        Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
    }
}
