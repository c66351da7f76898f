//! Other sizes of the spatial axes of `[N, C, L]` or `[N, C, H, W]`: interpolation, borders, and
//! channels that become pixels.

use super::Var;
use super::conv::spatial;
use super::spatial::PerAxis;
use crate::ops::{Resample, Resampling, Rule, Step};

/// Elements of an axis beyond which no table is made.
const LARGEST: usize = 1 << 24;

/// How large an upsampled image is, and how elements between others are made. The default is the
/// nearest element.
#[derive(Clone, Debug, PartialEq)]
pub struct UpsampleOptions {
    extent: Extent,
    method: Method,
}

#[derive(Clone, Debug, PartialEq)]
enum Extent {
    Size(PerAxis),
    Scale(PerAxisFactor),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Nearest,
    Linear,
    Aligned,
}

impl UpsampleOptions {
    /// To this size: one number, or one for each axis.
    pub fn size(size: impl Into<PerAxis>) -> Self {
        Self {
            extent: Extent::Size(size.into()),
            method: Method::Nearest,
        }
    }

    /// By these factors, one or one for each axis: of `n` elements `⌊n · factor⌋`.
    pub fn scale(factors: impl Into<PerAxisFactor>) -> Self {
        Self {
            extent: Extent::Scale(factors.into()),
            method: Method::Nearest,
        }
    }

    /// Linear between the centers of elements, bilinear in two directions.
    #[must_use]
    pub const fn linear(mut self) -> Self {
        self.method = Method::Linear;
        self
    }

    /// Linear (bilinear) such that the first and last elements stay, PyTorch's `align_corners`.
    #[must_use]
    pub const fn align_corners(mut self) -> Self {
        self.method = Method::Aligned;
        self
    }

    /// What happens to each axis.
    fn axes(&self, input: &[usize]) -> Result<Vec<Resampling>, String> {
        let sizes: Vec<(usize, Step)> = match &self.extent {
            Extent::Size(size) => {
                let size = size.each(input.len(), "size")?;
                let pairs = size.into_iter().zip(input);
                let step = |before: usize, after: usize| Step {
                    before: before as f64,
                    after: after as f64,
                };
                pairs.map(|(o, &n)| (o, step(n, o))).collect()
            }
            Extent::Scale(factors) => factors.sizes(input)?,
        };
        if let Some((large, _)) = sizes.iter().find(|(o, _)| *o > LARGEST) {
            return Err(format!("an axis of {large} elements is too large"));
        }
        if input.contains(&0) || sizes.iter().any(|&(o, _)| o == 0) {
            let sizes: Vec<usize> = sizes.iter().map(|&(o, _)| o).collect();
            return Err(format!(
                "cannot make {sizes:?} of {input:?}: an axis is empty"
            ));
        }
        let axes = input.iter().zip(sizes).map(|(&input, (output, step))| {
            let rule = match self.method {
                Method::Nearest => Rule::Nearest { step },
                Method::Linear => Rule::Linear { step },
                Method::Aligned => Rule::Aligned,
            };
            Resampling {
                input,
                output,
                rule,
            }
        });
        Ok(axes.collect())
    }
}

/// A factor for each spatial axis, or one for all: `2.0`, `[1.5, 2.0]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PerAxisFactor(Vec<f64>);

impl From<f64> for PerAxisFactor {
    fn from(all: f64) -> Self {
        Self(vec![all])
    }
}

impl<const N: usize> From<[f64; N]> for PerAxisFactor {
    fn from(each: [f64; N]) -> Self {
        Self(each.to_vec())
    }
}

impl PerAxisFactor {
    /// Sizes, and the step from one element to the next.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest size; what is too large is refused later"
    )]
    fn sizes(&self, input: &[usize]) -> Result<Vec<(usize, Step)>, String> {
        let axes = input.len();
        let all = match self.0.as_slice() {
            [all] => vec![*all; axes],
            each if each.len() == axes => each.to_vec(),
            each => {
                let found = each.len();
                return Err(format!(
                    "scale {each:?} has {found} numbers for {axes} spatial axes"
                ));
            }
        };
        if let Some(bad) = all.iter().find(|f| !(**f > 0.0 && f.is_finite())) {
            return Err(format!("scale must be above 0, found {bad}"));
        }
        let size = |(&n, after): (&usize, f64)| {
            let step = Step { before: 1.0, after };
            ((n as f64 * after) as usize, step)
        };
        Ok(input.iter().zip(all).map(size).collect())
    }
}

/// How many elements stand before and after each spatial axis: `1` everywhere, `[1, 2]` on both
/// sides of each axis, `[(0, 1), (2, 2)]` on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerSide(Vec<(usize, usize)>);

impl From<usize> for PerSide {
    fn from(all: usize) -> Self {
        Self(vec![(all, all)])
    }
}

impl<const N: usize> From<[usize; N]> for PerSide {
    fn from(each: [usize; N]) -> Self {
        Self(each.iter().map(|&n| (n, n)).collect())
    }
}

impl<const N: usize> From<[(usize, usize); N]> for PerSide {
    fn from(each: [(usize, usize); N]) -> Self {
        Self(each.to_vec())
    }
}

impl PerSide {
    /// Two numbers for each of so many axes.
    ///
    /// # Errors
    /// If there are several pairs, but not as many as axes.
    pub fn each(&self, axes: usize) -> Result<Vec<(usize, usize)>, String> {
        match self.0.as_slice() {
            [all] => Ok(vec![*all; axes]),
            each if each.len() == axes => Ok(each.to_vec()),
            each => Err(format!(
                "padding {each:?} is for {} spatial axes, not {axes}",
                each.len()
            )),
        }
    }
}

/// What stands around an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Border {
    /// A number.
    Constant(f64),
    /// The image as in a mirror on its first and last elements, which are not repeated.
    Reflect,
    /// The nearest element of the image.
    Replicate,
}

impl<'g> Var<'g> {
    /// The spatial axes in another size.
    ///
    /// ```text
    /// nearest     y[i] = x[⌊i · n/m⌋]
    /// linear      y[i] = x at (i + ½) · n/m − ½, but not before the first element
    /// aligned     y[i] = x at i · (n − 1)/(m − 1)
    /// ```
    ///
    /// for `m` elements of `n`; given factors instead of a size, `n/m` is 1/factor, as in PyTorch.
    #[track_caller]
    pub fn upsample(self, options: &UpsampleOptions) -> Self {
        let axes = spatial(self).and_then(|input| {
            let axes = options.axes(&input);
            axes.map_err(|e| format!("input {}: {e}", self.shape()))
        });
        match axes {
            Ok(axes) => match repeats(&axes) {
                Some(times) => self.repeat_pixels(&times),
                None => self.resample(axes),
            },
            Err(message) => self.graph.fail("upsample", message),
        }
    }

    #[track_caller]
    fn resample(self, axes: Vec<Resampling>) -> Self {
        self.composite(Resample { axes, back: false }, &[])
    }

    /// Every element of the spatial axes so many times: a view.
    fn repeat_pixels(self, times: &[usize]) -> Self {
        let shape = self.shape();
        let (mut split, mut wide, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for (axis, &size) in shape.iter().enumerate() {
            split.push(size);
            wide.push(size);
            let times = axis.checked_sub(2).map_or(1, |i| times[i]);
            if times > 1 {
                split.push(1);
                wide.push(times);
            }
            whole.push(size * times);
        }
        self.reshape(split).expand(wide).reshape(whole)
    }

    /// Surrounds the spatial axes with a border.
    ///
    /// A mirror needs more elements than it adds on either side, as in PyTorch.
    #[track_caller]
    pub fn pad_border(self, sides: impl Into<PerSide>, border: Border) -> Self {
        let checked = spatial(self).and_then(|input| {
            let sides = sides.into().each(input.len())?;
            check_border(&input, &sides, border)
                .map_err(|e| format!("input {}: {e}", self.shape()))?;
            Ok((input, sides))
        });
        let (input, sides) = match checked {
            Ok(checked) => checked,
            Err(message) => return self.graph.fail("pad_border", message),
        };
        if let Border::Constant(value) = border {
            let (before, after): (Vec<usize>, Vec<usize>) = sides.into_iter().unzip();
            let [before, after] = [before, after].map(|side| [vec![0, 0], side].concat());
            return self.pad(&before, &after, value);
        }
        let axes = input.into_iter().zip(sides);
        let axes = axes.map(|(input, (before, after))| Resampling {
            input,
            output: input + before + after,
            rule: match border {
                Border::Reflect => Rule::Reflect { before },
                _ => Rule::Replicate { before },
            },
        });
        self.resample(axes.collect())
    }

    /// Channels that become pixels: `[N, C·r…, H, W] -> [N, C, H·r, W·r]`, `r` channels for each
    /// spatial axis, the last one fastest. A view.
    ///
    /// Source: Shi et al. (2016), arXiv:1609.05158.
    #[track_caller]
    pub fn pixel_shuffle(self, factor: usize) -> Self {
        let axes = match shuffled(self, factor, |channels, _, all| {
            channels.is_multiple_of(all)
        }) {
            Ok(axes) => axes,
            Err(message) => return self.graph.fail("pixel_shuffle", message),
        };
        let (shape, d) = (self.shape(), axes.len());
        let channels = shape[1] / axes.iter().map(|_| factor).product::<usize>();
        let split = [&[shape[0], channels], &vec![factor; d][..], &axes].concat();
        let pairs = (0..d).flat_map(|i| [2 + d + i, 2 + i]);
        let order: Vec<usize> = [0, 1].into_iter().chain(pairs).collect();
        let larger: Vec<usize> = axes.iter().map(|n| n * factor).collect();
        let y = self.reshape(split).permute(&order);
        y.reshape([&[shape[0], channels][..], &larger].concat())
    }

    /// Pixels that become channels, the inverse of [`Var::pixel_shuffle`]:
    /// `[N, C, H·r, W·r] -> [N, C·r…, H, W]`. A view.
    #[track_caller]
    pub fn pixel_unshuffle(self, factor: usize) -> Self {
        let fits =
            |_: usize, axes: &[usize], _: usize| axes.iter().all(|n| n.is_multiple_of(factor));
        let axes = match shuffled(self, factor, fits) {
            Ok(axes) => axes,
            Err(message) => return self.graph.fail("pixel_unshuffle", message),
        };
        let (shape, d) = (self.shape(), axes.len());
        let smaller: Vec<usize> = axes.iter().map(|n| n / factor).collect();
        let split = smaller.iter().flat_map(|&n| [n, factor]);
        let split: Vec<usize> = shape[..2].iter().copied().chain(split).collect();
        let taps = (0..d).map(|i| 3 + 2 * i);
        let order = [0, 1]
            .into_iter()
            .chain(taps)
            .chain((0..d).map(|i| 2 + 2 * i));
        let channels = shape[1] * axes.iter().map(|_| factor).product::<usize>();
        let y = self.reshape(split).permute(&order.collect::<Vec<_>>());
        y.reshape([&[shape[0], channels][..], &smaller].concat())
    }
}

/// The spatial axes, if the factor fits channels or axes.
fn shuffled(
    x: Var<'_>,
    factor: usize,
    fits: impl Fn(usize, &[usize], usize) -> bool,
) -> Result<Vec<usize>, String> {
    let axes = spatial(x)?;
    let all = axes.iter().try_fold(1usize, |n, _| n.checked_mul(factor));
    match all {
        Some(all) if factor > 0 && fits(x.shape()[1], &axes, all) => Ok(axes),
        _ => Err(format!(
            "factor {factor} for each of {} axes does not fit {}",
            axes.len(),
            x.shape()
        )),
    }
}

/// The factors, if nearest elements are whole repeats on each axis.
fn repeats(axes: &[Resampling]) -> Option<Vec<usize>> {
    let times = axes.iter().map(|a| {
        let times = a.output / a.input.max(1);
        let step = |s: Step| s.after == s.before * times as f64;
        let whole = matches!(a.rule, Rule::Nearest { step: s } if step(s));
        (whole && a.output == times * a.input).then_some(times)
    });
    times.collect()
}

fn check_border(input: &[usize], sides: &[(usize, usize)], border: Border) -> Result<(), String> {
    for (&n, &(before, after)) in input.iter().zip(sides) {
        let largest = before.max(after);
        if largest > LARGEST {
            return Err(format!("padding {largest} is too large"));
        }
        match border {
            Border::Reflect if largest >= n => {
                return Err(format!(
                    "a mirror of {largest} elements needs more than the {n} there are"
                ));
            }
            Border::Replicate if n == 0 => {
                return Err("an empty axis has no nearest element".into());
            }
            _ => {}
        }
    }
    Ok(())
}
