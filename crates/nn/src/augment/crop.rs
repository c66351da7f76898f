//! Windows of images.

use gradus_graph::{Layer, PerAxis, PerSide, Scope, Var};

use super::{below, positions, spatial, take};

/// While training, takes a window of each sample of `[N, C, H, W]` or `[N, C, L]` at a random
/// place, borders included; otherwise the one in the middle, which is the sample itself if the
/// window is as large.
///
/// ```text
/// y[n, c, i, j] = x[n, c, i + oₙ − top, j + pₙ − left]      value outside
/// ```
///
/// with `oₙ` in `0..=H + top + bottom − height`, and `pₙ` likewise.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomCrop {
    size: PerAxis,
    padding: PerSide,
    value: f64,
}

impl RandomCrop {
    /// Windows of this size: one number, or one for each axis.
    pub fn new(size: impl Into<PerAxis>) -> Self {
        Self {
            size: size.into(),
            padding: 0.into(),
            value: 0.0,
        }
    }

    /// Elements around the image that windows may take; none unless set.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<PerSide>) -> Self {
        self.padding = padding.into();
        self
    }

    /// What these elements are; 0 unless set.
    #[must_use]
    pub const fn value(mut self, value: f64) -> Self {
        self.value = value;
        self
    }

    fn axes(&self, x: Var<'_>) -> Result<Vec<Axis>, String> {
        let axes = spatial(x)?;
        let sizes = self.size.each(axes.len(), "size")?;
        let padding = self.padding.each(axes.len())?;
        let axes = axes.iter().zip(sizes).zip(padding);
        let axis = |((&n, size), (before, after)): ((&usize, usize), (usize, usize))| {
            let padded = n.saturating_add(before).saturating_add(after);
            match padded.checked_sub(size) {
                Some(room) if size > 0 && padded <= 1 << 30 => Ok(Axis {
                    size,
                    room,
                    before,
                    middle: match n.checked_sub(size) {
                        Some(more) => before + more / 2,
                        None => room / 2,
                    },
                }),
                _ => Err(format!(
                    "a window of {size} does not fit {n} elements and {before} and {after} around \
                     them, of {}",
                    x.shape()
                )),
            }
        };
        axes.map(axis).collect()
    }
}

/// Where windows may lie on an axis.
struct Axis {
    size: usize,
    /// The largest place, counted from the first element of the padding.
    room: usize,
    before: usize,
    middle: usize,
}

impl Layer for RandomCrop {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let axes = match self.axes(x) {
            Ok(axes) => axes,
            Err(message) => return scope.graph().fail("random_crop", message),
        };
        let sizes: Vec<usize> = axes.iter().map(|a| a.size).collect();
        let stays = |(a, &n): (&Axis, &usize)| a.size == n && a.middle == a.before;
        if !scope.training() && axes.iter().zip(&x.shape()[2..]).all(stays) {
            return x;
        }
        let word = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let places = axes.iter().enumerate().map(|(i, axis)| {
            let place = positions(x, i + 2, axis.size) - word(axis.before);
            match scope.training() {
                true => place + below(scope, x, axis.room + 1),
                false => place + word(axis.middle),
            }
        });
        take(x, &places.collect::<Vec<_>>(), &sizes, self.value)
    }
}
