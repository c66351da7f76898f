//! Windows that move along an axis, and the view that takes their taps.

use super::{Meta, Op};
use crate::{Scalar, Var};

/// A window that moves along one axis: at position `p` its tap `k` lies on
/// `q = stride · p + dilation · k − padding`, if that is inside of `0..input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Elements of the axis.
    pub input: usize,
    /// Positions.
    pub output: usize,
    /// Taps.
    pub size: usize,
    /// From one position to the next, at least 1.
    pub stride: usize,
    /// From one tap to the next, at least 1.
    pub dilation: usize,
    /// From the first tap at position 0 to the first element.
    pub padding: usize,
}

impl Window {
    /// From the first to the last tap, both included; 0 if there are none.
    pub const fn span(&self) -> usize {
        match self.size {
            0 => 0,
            n => self.dilation.saturating_mul(n - 1).saturating_add(1),
        }
    }

    /// True if the windows lie side by side, from the first element on.
    pub(crate) const fn is_tiling(&self) -> bool {
        let dense = self.dilation == 1 || self.size == 1;
        let inside = self.output * self.size <= self.input;
        dense && self.stride == self.size && self.padding == 0 && inside
    }

    /// Steps and distances with which positions stay far inside of 32 bits.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self {
            stride, dilation, ..
        } = *self;
        if stride == 0 || dilation == 0 {
            return Err(format!(
                "stride and dilation must be at least 1, found {stride} and {dilation}"
            ));
        }
        let reach = stride.saturating_mul(self.output);
        let reach = reach.saturating_add(self.span());
        let reach = reach.saturating_add(self.padding);
        if reach.saturating_add(self.input) > 1 << 30 {
            return Err(format!("the window {self:?} is too large"));
        }
        Ok(())
    }
}

/// The taps of a window, each a row of elements that the stride picks:
///
/// ```text
/// y[…, p, …, k, …] = x[…, stride·p + dilation·k − padding, …, k, …]      `outside` outside
/// ```
///
/// With `back` the other way, `x` from `y`, `outside` at elements that no position picks. For each
/// tap elements only move, so that either is the gradient of the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slide {
    /// The axis of elements or positions.
    pub axis: usize,
    /// The axis of taps.
    pub taps: usize,
    /// How the window moves.
    pub window: Window,
    /// From positions to elements.
    pub back: bool,
    /// What stands where there is no element.
    pub outside: Scalar,
}

impl Slide {
    pub(crate) fn infer(&self, x: Meta) -> Result<Meta, String> {
        self.window.check()?;
        let Window { input, output, .. } = self.window;
        let (from, to) = if self.back {
            (output, input)
        } else {
            (input, output)
        };
        if self.outside.dtype() != x.dtype {
            return Err(format!("{:?} does not fit {}", self.outside, x.dtype));
        }
        let is = |axis: usize, size| x.shape.get(axis) == Some(&size);
        if self.axis == self.taps || !is(self.axis, from) || !is(self.taps, self.window.size) {
            return Err(format!("{self:?} does not fit {}", x.shape));
        }
        Ok(Meta::new(x.shape.with_axis(self.axis, to), x.dtype))
    }

    /// The same window in the other direction, with zeros outside.
    pub(crate) fn vjp<'g>(&self, dy: Var<'g>) -> Var<'g> {
        let back = Self {
            back: !self.back,
            outside: Scalar::zero(dy.dtype()),
            ..*self
        };
        dy.apply(Op::Slide(back), &[])
    }
}
