//! The schedule of the first transformer.

use gradus_graph::{At, Rate};

use super::{Schedule, positive, scaled};

/// Up along a line for `warmup` steps, then down with the root of the steps:
///
/// ```text
/// base · width^(−½) · min(t^(−½), t · warmup^(−3/2))      t = 1, 2, …
/// ```
///
/// The base is most often 1, or 2 for small models. Source: Vaswani et al. (2017),
/// arXiv:1706.03762, eq. 3.
#[derive(Clone, Debug, PartialEq)]
pub struct Noam {
    width: u32,
    warmup: u32,
}

impl Noam {
    /// For a model of this width (`d_model`), with so many steps up.
    pub const fn steps(width: u32, warmup: u32) -> Self {
        Self { width, warmup }
    }
}

impl Schedule for Noam {
    fn rate(&self, base: Rate, at: &At<'_>) -> Rate {
        let t = f64::from(at.step) + 1.0;
        let up = t * f64::from(self.warmup).powf(-1.5);
        scaled(
            base,
            f64::from(self.width).powf(-0.5) * t.powf(-0.5).min(up),
        )
    }

    fn mistake(&self) -> Option<String> {
        positive("the width", self.width.into()).or_else(|| positive("warmup", self.warmup.into()))
    }
}
