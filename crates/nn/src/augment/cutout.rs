//! Holes in images.

use gradus_graph::{Layer, PerAxis, Scope, Var};

use super::{below, positions, spatial};

/// While training, covers a square of each sample of `[N, C, H, W]` or `[N, C, L]`, in all its
/// channels; otherwise the identity. The middle of the square lies anywhere in the image, so that
/// a part of the square may lie outside.
///
/// Source: DeVries & Taylor (2017), arXiv:1708.04552.
#[derive(Clone, Debug, PartialEq)]
pub struct Cutout {
    size: PerAxis,
    holes: usize,
    value: f64,
}

impl Cutout {
    /// One hole of this size: one number, or one for each axis.
    pub fn new(size: impl Into<PerAxis>) -> Self {
        Self {
            size: size.into(),
            holes: 1,
            value: 0.0,
        }
    }

    /// So many holes in each sample, which may overlap.
    #[must_use]
    pub const fn holes(mut self, holes: usize) -> Self {
        self.holes = holes;
        self
    }

    /// What covers the image; 0 unless set, the mean of normalized images.
    #[must_use]
    pub const fn value(mut self, value: f64) -> Self {
        self.value = value;
        self
    }

    fn sizes(&self, x: Var<'_>) -> Result<Vec<[usize; 2]>, String> {
        let axes = spatial(x)?;
        let sizes = self.size.each(axes.len(), "size")?;
        let reach = |(n, size): (usize, usize)| match size {
            0 => Err("a hole needs at least 1 element on each axis, found 0".to_owned()),
            _ => Ok([n, size.min(2 * n + 1)]),
        };
        axes.into_iter().zip(sizes).map(reach).collect()
    }
}

impl Layer for Cutout {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let sizes = match self.sizes(x) {
            Ok(sizes) => sizes,
            Err(message) => return scope.graph().fail("cutout", message),
        };
        if !scope.training() {
            return x;
        }
        let word = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        (0..self.holes).fold(x, |covered, _| {
            let hole = (2..).zip(&sizes).map(|(axis, &[n, size])| {
                let from_first = positions(x, axis, n) - below(scope, x, n) + word(size / 2);
                from_first.ge(0).and(from_first.lt(word(size)))
            });
            match hole.reduce(Var::and) {
                Some(hole) => hole.select(self.value, covered),
                None => covered,
            }
        })
    }
}
