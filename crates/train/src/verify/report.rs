//! What `verify` found, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::bound::Check;
use super::rules::Rules;

/// What [`Model::verify`](crate::Model::verify) found: every error in units of its bound.
///
/// Prints as a few lines, with every failure; [`Verification::to_json`] has all of it.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The device and its driver.
    pub device: String,
    /// Each result of each kernel against what the kernel means, on the inputs it really had.
    pub kernels: Vec<Check>,
    /// Loss and metrics in training and evaluation, and predictions, against the reference on the
    /// original graph.
    pub scores: Vec<Check>,
    /// The gradient of each parameter.
    pub gradients: Vec<Check>,
    /// Each parameter and its optimizer states after the step.
    pub updates: Vec<Check>,
    /// Gradient rules against central differences.
    pub rules: Rules,
    /// True if every plan in one submit left the same bits as kernel by kernel.
    pub one_submit: bool,
}

impl Verification {
    /// Nothing found yet.
    pub(super) const fn new(device: String) -> Self {
        Self {
            device,
            kernels: Vec::new(),
            scores: Vec::new(),
            gradients: Vec::new(),
            updates: Vec::new(),
            rules: Rules::new(),
            one_submit: true,
        }
    }

    /// True if everything is within its bound.
    pub fn passed(&self) -> bool {
        self.one_submit && self.rules.passed() && self.checks().all(Check::passed)
    }

    /// What failed, one line each.
    pub fn failures(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.checks().filter_map(describe).collect();
        if let Some(wrong) = &self.rules.wrong {
            lines.push(format!(
                "gradient rule of {wrong}: differs from central differences by {:.1e}, allowed \
                 {:.0e}",
                self.rules.difference, self.rules.allowed
            ));
        }
        if !self.one_submit {
            lines.push("a plan in one submit left other bits than kernel by kernel".to_owned());
        }
        lines
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> String {
        // Infinite errors have no JSON; they become null.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn checks(&self) -> impl Iterator<Item = &Check> {
        let groups = [&self.kernels, &self.scores, &self.gradients, &self.updates];
        groups.into_iter().flatten()
    }
}

fn describe(check: &Check) -> Option<String> {
    let f = check.failure.as_ref()?;
    Some(format!(
        "{}: {} of {} values too far; at {}: found {:e}, expected {:e}, allowed ±{:.1e}",
        check.name, f.count, check.elements, f.index, f.found, f.expected, f.allowed
    ))
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        writeln!(f, "verification {verdict} on {}", self.device)?;
        let groups = [
            ("kernels", &self.kernels),
            ("results", &self.scores),
            ("gradients", &self.gradients),
            ("updates", &self.updates),
        ];
        for (name, checks) in groups {
            let worst = checks.iter().max_by(|a, b| a.worst.total_cmp(&b.worst));
            let near: usize = checks.iter().map(|c| c.near).sum();
            let Some(worst) = worst else { continue };
            write!(
                f,
                "  {name:<9} worst {:.2} of its bound: {}",
                worst.worst, worst.name
            )?;
            if near > 0 {
                write!(f, "; {near} values at a discontinuity not judged")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "  rules     differ from central differences by {:.0e}, allowed {:.0e}",
            self.rules.difference, self.rules.allowed
        )?;
        for line in self.failures() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
