//! Settings of ops that move a window over the spatial axes of `[N, C, L]` or `[N, C, H, W]`.

use crate::ops::Window;

/// A number for each spatial axis, or one for all: `2`, `[2, 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerAxis(Vec<usize>);

impl From<usize> for PerAxis {
    fn from(all: usize) -> Self {
        Self(vec![all])
    }
}

impl<const N: usize> From<[usize; N]> for PerAxis {
    fn from(each: [usize; N]) -> Self {
        Self(each.to_vec())
    }
}

impl PerAxis {
    /// One number for each of so many axes.
    ///
    /// # Errors
    /// If there are several numbers, but not as many as axes; `what` they are is named.
    pub fn each(&self, axes: usize, what: &str) -> Result<Vec<usize>, String> {
        match self.0.as_slice() {
            [all] => Ok(vec![*all; axes]),
            each if each.len() == axes => Ok(each.to_vec()),
            each => Err(format!(
                "{what} {each:?} has {} numbers for {axes} spatial axes",
                each.len()
            )),
        }
    }
}

/// Zeros around the input of a convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// None: the kernel stays inside.
    Valid,
    /// So many that the output is as large as the input; of an odd number the larger half lies
    /// behind. Only with stride 1.
    Same,
    /// So many on both sides of each axis.
    Each(PerAxis),
}

impl<T: Into<PerAxis>> From<T> for Padding {
    fn from(each: T) -> Self {
        Self::Each(each.into())
    }
}

/// How a convolution moves its kernel. The default is PyTorch's: stride 1, no padding, dilation
/// 1, one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    output_padding: PerAxis,
    groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: 1.into(),
            padding: Padding::Valid,
            dilation: 1.into(),
            output_padding: 0.into(),
            groups: 1,
        }
    }
}

impl ConvOptions {
    /// Stride 1, no padding, dilation 1, one group.
    pub fn new() -> Self {
        Self::default()
    }

    /// From one position of the kernel to the next, at least 1.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<PerAxis>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Zeros around the input: a number, one for each axis, or a [`Padding`].
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// From one element of the kernel to the next, at least 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<PerAxis>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Elements added at the end of each axis of a transposed convolution's output, which its
    /// input's shape leaves open. Fewer than the stride or the dilation.
    #[must_use]
    pub fn output_padding(mut self, padding: impl Into<PerAxis>) -> Self {
        self.output_padding = padding.into();
        self
    }

    /// Divides the channels into groups that do not mix. As many as there are input channels
    /// make a depthwise convolution.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The number of groups.
    pub const fn group_count(&self) -> usize {
        self.groups
    }

    /// How a kernel of this size moves over an input of this size.
    pub(super) fn windows(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<Window>, String> {
        let axes = input.len();
        let stride = self.stride.each(axes, "stride")?;
        let dilation = self.dilation.each(axes, "dilation")?;
        let padding = match &self.padding {
            Padding::Each(each) => each.each(axes, "padding")?,
            _ => vec![0; axes],
        };
        if self.output_padding != 0.into() {
            return Err("output padding is for transposed convolutions".into());
        }
        let window = |axis: usize| {
            let mut window = Window {
                input: input[axis],
                output: 0,
                size: kernel[axis],
                stride: stride[axis],
                dilation: dilation[axis],
                padding: padding[axis],
            };
            window.check()?;
            let mut padded = window.input + 2 * window.padding;
            if self.padding == Padding::Same {
                if window.stride != 1 {
                    let stride = window.stride;
                    return Err(format!("same padding needs stride 1, found {stride}"));
                }
                padded += window.span().saturating_sub(1);
                window.padding = window.span().saturating_sub(1) / 2;
            }
            window.output = positions(&window, padded, false)?;
            Ok(window)
        };
        (0..axes).map(window).collect()
    }

    /// How the kernel of a transposed convolution moves over its output.
    pub(super) fn windows_back(
        &self,
        input: &[usize],
        kernel: &[usize],
    ) -> Result<Vec<Window>, String> {
        let axes = input.len();
        let stride = self.stride.each(axes, "stride")?;
        let dilation = self.dilation.each(axes, "dilation")?;
        let more = self.output_padding.each(axes, "output padding")?;
        let padding = match &self.padding {
            Padding::Each(each) => each.each(axes, "padding")?,
            Padding::Valid => vec![0; axes],
            Padding::Same => {
                return Err("same padding is not for transposed convolutions".into());
            }
        };
        let window = |axis: usize| {
            let window = Window {
                input: 0,
                output: input[axis],
                size: kernel[axis],
                stride: stride[axis],
                dilation: dilation[axis],
                padding: padding[axis],
            };
            window.check()?;
            let [n, more] = [window.output, more[axis]];
            if more >= window.stride.max(window.dilation) {
                return Err(format!(
                    "output padding {more} must be smaller than stride {} or dilation {}",
                    window.stride, window.dilation
                ));
            }
            if n == 0 || window.size == 0 {
                return Err(format!(
                    "input {n} and kernel {} of a spatial axis must be at least 1",
                    window.size
                ));
            }
            let full = (n - 1) * window.stride + window.span() + more;
            match full.checked_sub(2 * window.padding) {
                Some(input) if input > 0 => Ok(Window { input, ..window }),
                _ => Err(format!(
                    "padding {} on both sides leaves nothing of an output of {full}",
                    window.padding
                )),
            }
        };
        (0..axes).map(window).collect()
    }
}

/// How a pool moves its window. The default is PyTorch's: the stride is the size, no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    size: PerAxis,
    stride: Option<PerAxis>,
    padding: PerAxis,
    dilation: PerAxis,
    ceil: bool,
    pub(super) exclude_padding: bool,
}

impl PoolOptions {
    /// Windows of this size, side by side.
    pub fn new(size: impl Into<PerAxis>) -> Self {
        Self {
            size: size.into(),
            stride: None,
            padding: 0.into(),
            dilation: 1.into(),
            ceil: false,
            exclude_padding: false,
        }
    }

    /// From one window to the next, at least 1.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<PerAxis>) -> Self {
        self.stride = Some(stride.into());
        self
    }

    /// Elements added on both sides, at most half the window: they never win a maximum and count
    /// as 0 in an average.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<PerAxis>) -> Self {
        self.padding = padding.into();
        self
    }

    /// From one element of the window to the next, at least 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<PerAxis>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Keeps a last window that begins inside but does not fit.
    #[must_use]
    pub const fn ceil_mode(mut self) -> Self {
        self.ceil = true;
        self
    }

    /// Averages divide by the number of elements of the input alone, without the padding.
    #[must_use]
    pub const fn exclude_padding(mut self) -> Self {
        self.exclude_padding = true;
        self
    }

    /// How the window moves over an input of this size.
    pub(super) fn windows(&self, input: &[usize]) -> Result<Vec<Window>, String> {
        let axes = input.len();
        let size = self.size.each(axes, "size")?;
        let stride = self.stride.as_ref().unwrap_or(&self.size);
        let stride = stride.each(axes, "stride")?;
        let padding = self.padding.each(axes, "padding")?;
        let dilation = self.dilation.each(axes, "dilation")?;
        let window = |axis: usize| {
            let mut window = Window {
                input: input[axis],
                output: 0,
                size: size[axis],
                stride: stride[axis],
                dilation: dilation[axis],
                padding: padding[axis],
            };
            window.check()?;
            if window.padding > window.size / 2 {
                return Err(format!(
                    "padding {} is more than half the window of {}",
                    window.padding, window.size
                ));
            }
            let padded = window.input + 2 * window.padding;
            window.output = positions(&window, padded, self.ceil)?;
            Ok(window)
        };
        (0..axes).map(window).collect()
    }
}

/// How often a window fits into a padded axis; with `ceil` once more if it begins before the
/// padding behind the input.
fn positions(window: &Window, padded: usize, ceil: bool) -> Result<usize, String> {
    let Window { stride, size, .. } = *window;
    let span = window.span();
    if size == 0 || span > padded {
        return Err(format!(
            "a kernel of {size} (spanning {span}) does not fit into an input of {padded}, \
             padding included"
        ));
    }
    let floor = (padded - span) / stride + 1;
    let whole = (padded - span).is_multiple_of(stride);
    let begins_inside = floor * stride < window.input + window.padding;
    Ok(floor + usize::from(ceil && !whole && begins_inside))
}
