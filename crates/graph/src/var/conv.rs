//! Convolutions and pools over the spatial axes of `[N, C, L]` or `[N, C, H, W]`.
//!
//! A poisoned value fails here once more, which changes nothing: the first cause is kept.

use super::Var;
use super::spatial::{ConvOptions, PerAxis, PoolOptions};
use crate::ops::{Conv, Direction, Expand, FirstMax, Op, Slide, Unary, Window};
use crate::{Array, DType, Graph, Scalar, Shape};

impl<'g> Var<'g> {
    /// Convolution of `[N, C, L]` or `[N, C, H, W]` with a kernel `[O, C/groups, k…]`; a bias is
    /// a plain sum. Kernels are not flipped: cross-correlation, as in PyTorch.
    #[track_caller]
    pub fn conv(self, weight: Self, options: &ConvOptions) -> Self {
        let conv = forward(self, weight, options);
        self.contract("conv", weight, conv)
    }

    /// Transposed convolution of `[N, C, L]` or `[N, C, H, W]` with a kernel
    /// `[C, O/groups, k…]`: the gradient of a convolution, from its output to its input.
    ///
    /// ```text
    /// out = (in − 1)·stride − 2·padding + dilation·(k − 1) + output_padding + 1
    /// ```
    #[track_caller]
    pub fn conv_transpose(self, weight: Self, options: &ConvOptions) -> Self {
        let conv = transposed(self, weight, options);
        self.contract("conv_transpose", weight, conv)
    }

    #[track_caller]
    fn contract(self, name: &'static str, weight: Self, conv: Result<Conv, String>) -> Self {
        match conv {
            Ok(conv) => self.apply(Op::Conv(conv), &[weight]),
            Err(message) => self.graph.fail(name, message),
        }
    }

    /// The largest element of each window of the spatial axes. The first of several in a window,
    /// in row-major order, has the gradient, as in PyTorch.
    #[track_caller]
    pub fn max_pool(self, options: &PoolOptions) -> Self {
        let windows = match pool_windows(self, options) {
            Ok(windows) => windows,
            Err(message) => return self.graph.fail("max_pool", message),
        };
        let node = self.graph.node(self.id);
        if let (Op::Unary(Unary::Relu), &[x]) = (&node.op, &node.inputs[..]) {
            // The same, with fewer elements to compare with 0 and to keep for the gradient.
            return self.graph.var(x).max_pool(options).relu();
        }
        let taps = self.slide(&windows, f64::NEG_INFINITY);
        taps.flatten(self.rank()).composite(FirstMax, &[])
    }

    /// The mean of each window of the spatial axes.
    ///
    /// As in PyTorch padding counts as elements, unless excluded; what a last window of
    /// [`PoolOptions::ceil_mode`] has beyond the padding never does.
    #[track_caller]
    pub fn avg_pool(self, options: &PoolOptions) -> Self {
        let windows = match pool_windows(self, options) {
            Ok(windows) => windows,
            Err(message) => return self.graph.fail("avg_pool", message),
        };
        let rank = self.rank();
        let taps: Vec<isize> = (rank..2 * rank - 2).map(usize::cast_signed).collect();
        let sum = self.slide(&windows, 0.0).sum(&taps);
        (2..).zip(&windows).fold(sum, |y, (axis, window)| {
            let counts = counts(window, options.exclude_padding);
            if counts.iter().all(|&n| n == window.size as f32) {
                return y * (1.0 / window.size as f64);
            }
            let mut shape = vec![1; rank];
            shape[axis] = window.output;
            y / self.graph.literal(Array::vector(counts)).reshape(shape)
        })
    }

    /// The mean over parts of the spatial axes, as many and as equal as asked for: part `i` of an
    /// axis of `n` into `m` runs from `⌊i·n/m⌋` to `⌈(i+1)·n/m⌉`, as in PyTorch.
    #[track_caller]
    pub fn adaptive_avg_pool(self, size: impl Into<PerAxis>) -> Self {
        let parts = spatial(self).and_then(|axes| {
            let size = size.into().each(axes.len(), "size")?;
            match size.contains(&0) || axes.contains(&0) {
                true => Err(format!("cannot divide {} into {size:?}", self.shape())),
                false => Ok(size),
            }
        });
        let parts = match parts {
            Ok(parts) => parts,
            Err(message) => return self.graph.fail("adaptive_avg_pool", message),
        };
        // A product with a matrix of shares along each axis, the last one first.
        parts.iter().enumerate().rev().fold(self, |x, (i, &m)| {
            let n = x.shape()[i + 2];
            let shares = shares(self.graph, n, m);
            match i + 3 == x.rank() {
                true => x.matmul(shares.transpose()),
                false => shares.matmul(x),
            }
        })
    }

    /// The mean over all spatial axes, which go: `[N, C, …] -> [N, C]`.
    #[track_caller]
    pub fn global_avg_pool(self) -> Self {
        match spatial(self) {
            Ok(axes) if !axes.contains(&0) => self.flatten(2).mean(&[2]),
            Ok(_) => {
                let message = format!("{} has an empty axis", self.shape());
                self.graph.fail("global_avg_pool", message)
            }
            Err(message) => self.graph.fail("global_avg_pool", message),
        }
    }

    /// The taps of these windows of the last axes, as axes behind: `[…, p…, k…]`.
    #[track_caller]
    fn slide(self, windows: &[Window], outside: f64) -> Self {
        let (rank, n) = (self.rank(), windows.len());
        if windows.iter().all(Window::is_tiling) {
            return (rank - n..)
                .zip(windows)
                .fold(self, |x, (axis, window)| x.tiles(axis, window));
        }
        let sizes: Vec<usize> = windows.iter().map(|w| w.size).collect();
        let dims = |taps: &[usize]| Shape::try_new(&[&self.shape()[..], taps].concat());
        let (Some(flat), Some(shape)) = (dims(&vec![1; n]), dims(&sizes)) else {
            let message = format!("windows {sizes:?} of {} are too large", self.shape());
            return self.graph.fail("slide", message);
        };
        let repeated = self.reshape(flat).apply(Op::Expand(Expand { shape }), &[]);
        windows.iter().enumerate().fold(repeated, |x, (i, window)| {
            let slide = Slide {
                axis: rank - n + i,
                taps: rank + i,
                window: *window,
                back: false,
                outside: Scalar::F32(outside),
            };
            x.apply(Op::Slide(slide), &[])
        })
    }

    /// The taps of windows that lie side by side on an axis: its elements under another shape.
    #[track_caller]
    fn tiles(self, axis: usize, window: &Window) -> Self {
        let Window { output, size, .. } = *window;
        let x = self.slice_axis(axis, 0, output * size);
        let mut dims = x.shape().to_vec();
        dims.splice(axis..=axis, [output, size]);
        let mut order: Vec<usize> = (0..dims.len()).collect();
        order.remove(axis + 1);
        order.push(axis + 1);
        x.reshape(dims).permute(&order)
    }
}

fn forward(x: Var<'_>, weight: Var<'_>, options: &ConvOptions) -> Result<Conv, String> {
    let (x, w) = shapes(x, weight)?;
    let groups = options.group_count();
    if groups == 0 || x[1] % groups != 0 || w[0] % groups != 0 {
        return Err(format!(
            "{groups} groups do not divide the {} channels of input {x} and the {} of kernel {w}",
            x[1], w[0]
        ));
    }
    if w[1] != x[1] / groups {
        return Err(format!(
            "kernel {w} is for {} channels in each group, but input {x} has {} in each of {groups}",
            w[1],
            x[1] / groups
        ));
    }
    let windows = options.windows(&x[2..], &w[2..]);
    let windows = windows.map_err(|e| format!("input {x} and kernel {w}: {e}"))?;
    Ok(Conv {
        direction: Direction::Output,
        groups,
        inputs: w[1],
        outputs: w[0] / groups,
        windows,
    })
}

fn transposed(x: Var<'_>, weight: Var<'_>, options: &ConvOptions) -> Result<Conv, String> {
    let (x, w) = shapes(x, weight)?;
    let groups = options.group_count();
    if groups == 0 || x[1] % groups != 0 {
        return Err(format!(
            "{groups} groups do not divide the {} channels of input {x}",
            x[1]
        ));
    }
    if w[0] != x[1] {
        return Err(format!(
            "kernel {w} is for {} channels, but input {x} has {}",
            w[0], x[1]
        ));
    }
    let windows = options.windows_back(&x[2..], &w[2..]);
    let windows = windows.map_err(|e| format!("input {x} and kernel {w}: {e}"))?;
    Ok(Conv {
        direction: Direction::Input,
        groups,
        inputs: w[1],
        outputs: w[0] / groups,
        windows,
    })
}

/// The spatial axes of an f32 `[N, C, L]` or `[N, C, H, W]`.
pub(super) fn spatial(x: Var<'_>) -> Result<Vec<usize>, String> {
    match (x.rank(), x.dtype()) {
        (3 | 4, DType::F32) => Ok(x.shape()[2..].to_vec()),
        _ => Err(format!(
            "expected f32 [N, C, L] or [N, C, H, W], found {} {}",
            x.dtype(),
            x.shape()
        )),
    }
}

fn pool_windows(x: Var<'_>, options: &PoolOptions) -> Result<Vec<Window>, String> {
    let axes = spatial(x)?;
    if axes.contains(&0) {
        return Err(format!("{} has an empty axis", x.shape()));
    }
    let windows = options.windows(&axes);
    windows.map_err(|e| format!("input {}: {e}", x.shape()))
}

/// The shapes of an input and its kernel.
fn shapes(x: Var<'_>, weight: Var<'_>) -> Result<(Shape, Shape), String> {
    spatial(x)?;
    let (x, w) = (x.shape(), weight.shape());
    match (w.rank() == x.rank(), weight.dtype()) {
        (true, DType::F32) => Ok((x, w)),
        (_, dtype) => Err(format!(
            "input {x} needs an f32 kernel of as many axes, found {dtype} {w}"
        )),
    }
}

/// For each position of a window of a mean: how many elements count.
fn counts(window: &Window, exclude_padding: bool) -> Vec<f32> {
    let border = if exclude_padding { 0 } else { window.padding };
    let inside = window.padding - border..window.padding + window.input + border;
    let counts = (0..window.output).map(|p| {
        let taps = (0..window.size).map(|k| p * window.stride + k * window.dilation);
        taps.filter(|q| inside.contains(q)).count() as f32
    });
    counts.collect()
}

/// `[m, n]`: the share that each of `n` elements has in each of `m` means.
fn shares(graph: &Graph, n: usize, m: usize) -> Var<'_> {
    let share = |at: usize| {
        let (part, element) = (at / n, at % n);
        let range = part * n / m..((part + 1) * n).div_ceil(m);
        let inside = range.contains(&element);
        if inside {
            1.0 / range.len() as f32
        } else {
            0.0
        }
    };
    let shares: Vec<f32> = (0..m * n).map(share).collect();
    graph.literal(Array::vector(shares)).reshape([m, n])
}
