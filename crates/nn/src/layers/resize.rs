//! Layers that change the size of `[N, C, L]` or `[N, C, H, W]`. No parameters.

use gradus_graph::{Border, Layer, PerAxis, PerAxisFactor, PerSide, Scope, UpsampleOptions, Var};

/// The spatial axes in another size, by the nearest elements or between them; see
/// [`Var::upsample`].
#[derive(Clone, Debug, PartialEq)]
pub struct Upsample(UpsampleOptions);

impl Upsample {
    /// To this size: one number, or one for each axis.
    pub fn size(size: impl Into<PerAxis>) -> Self {
        Self(UpsampleOptions::size(size))
    }

    /// By these factors, one or one for each axis: of `n` elements `⌊n · factor⌋`.
    pub fn scale(factors: impl Into<PerAxisFactor>) -> Self {
        Self(UpsampleOptions::scale(factors))
    }

    /// Linear between the centers of elements, bilinear in two directions.
    #[must_use]
    pub fn linear(self) -> Self {
        Self(self.0.linear())
    }

    /// Linear (bilinear) such that the first and last elements stay, PyTorch's `align_corners`.
    #[must_use]
    pub fn align_corners(self) -> Self {
        Self(self.0.align_corners())
    }
}

impl Layer for Upsample {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.upsample(&self.0)
    }
}

/// A border around the spatial axes; see [`Var::pad_border`].
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    sides: PerSide,
    border: Border,
}

impl Pad {
    /// So many elements before and after each spatial axis, and what they are.
    pub fn new(sides: impl Into<PerSide>, border: Border) -> Self {
        Self {
            sides: sides.into(),
            border,
        }
    }
}

impl Layer for Pad {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.pad_border(self.sides.clone(), self.border)
    }
}

/// Channels that become pixels: `[N, C·r², H, W] -> [N, C, H·r, W·r]`; see
/// [`Var::pixel_shuffle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelShuffle(usize);

impl PixelShuffle {
    /// By this factor along each axis.
    pub const fn new(factor: usize) -> Self {
        Self(factor)
    }
}

impl Layer for PixelShuffle {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.pixel_shuffle(self.0)
    }
}

/// Pixels that become channels: `[N, C, H·r, W·r] -> [N, C·r², H, W]`; see
/// [`Var::pixel_unshuffle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelUnshuffle(usize);

impl PixelUnshuffle {
    /// By this factor along each axis.
    pub const fn new(factor: usize) -> Self {
        Self(factor)
    }
}

impl Layer for PixelUnshuffle {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.pixel_unshuffle(self.0)
    }
}
