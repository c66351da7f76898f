//! Normalization by the mean and variance of a batch, or of groups of channels.

use super::{Composite, Meta};
use crate::passes::split;
use crate::{DType, Shape, Var};

/// Elements of a sample's row below which it is no part of its own.
const SHORTEST: usize = 16;

/// Terms of a sum that is divided whatever the number of channels.
const VERY_LONG: usize = 16 * split::LONG;

/// Which elements of `[N, C, …]` share a mean and a variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Those of a channel, in all samples: batch normalization.
    Batch,
    /// Those of each of so many groups of neighbouring channels, in each sample apart: group
    /// normalization; with a group for each channel, instance normalization.
    Groups(usize),
}

/// Subtracts the mean and divides by the standard deviation, then scales and shifts each channel:
/// `[N, C, …] -> [N, C, …]`, with `w` and `b` `[C]` or without both.
///
/// ```text
/// y = (x − µ) / √(σ² + eps) · w + b      σ² = mean (x − µ)²
/// ```
///
/// Sources: Ioffe & Szegedy (2015), arXiv:1502.03167; Ulyanov, Vedaldi & Lempitsky (2016),
/// arXiv:1607.08022; Wu & He (2018), arXiv:1803.08494.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Which elements share their statistics.
    pub sharing: Sharing,
    /// Keeps the root away from 0.
    pub eps: f64,
}

impl Normalize {
    /// `x` as `[N, groups, C/groups, L]`.
    fn view<'g>(&self, x: Var<'g>) -> Var<'g> {
        let shape = x.shape();
        let groups = self.groups(&shape);
        let spatial: usize = shape[2..].iter().product();
        x.reshape([shape[0], groups, shape[1] / groups.max(1), spatial])
    }

    fn groups(&self, shape: &Shape) -> usize {
        match self.sharing {
            Sharing::Batch => shape[1],
            Sharing::Groups(groups) => groups,
        }
    }

    /// Elements of an input of this shape that share a mean and a variance.
    pub fn count(&self, shape: &Shape) -> usize {
        let spatial: usize = shape[2..].iter().product();
        match self.sharing {
            Sharing::Batch => shape[0] * spatial,
            Sharing::Groups(groups) => shape[1] / groups.max(1) * spatial,
        }
    }

    /// The mean over what is shared of a view, and the axes that are left of it with size 1.
    fn mean<'g>(&self, view: Var<'g>) -> Var<'g> {
        match self.sharing {
            Sharing::Batch if by_samples(view) => mean(mean(view, &[3]), &[0]),
            Sharing::Batch => mean(view, &[0, 3]),
            Sharing::Groups(_) => mean(view, &[2, 3]),
        }
    }

    /// Mean and variance (biased) of a view. The variance is a mean of squares of what is centered
    /// before: around the mean itself, or around that of each sample, which is corrected then.
    fn statistics<'g>(&self, view: Var<'g>) -> [Var<'g>; 2] {
        if self.sharing != Sharing::Batch || !by_samples(view) {
            let center = self.mean(view);
            return [center, self.mean((view - center).square())];
        }
        let centers = mean(view, &[3]);
        let variances = mean((view - centers).square(), &[3]);
        let center = mean(centers, &[0]);
        [center, mean(variances + (centers - center).square(), &[0])]
    }

    /// Mean and variance (biased) of each channel of a batch, `[C]` each, as the normalization of
    /// `x` computes them.
    pub fn moments<'g>(&self, x: Var<'g>) -> [Var<'g>; 2] {
        self.statistics(self.view(x)).map(|v| v.flatten(0))
    }

    /// A value of each channel beside a view.
    fn column<'g>(&self, view: Var<'g>, channels: Var<'g>) -> Var<'g> {
        channels.reshape([1, view.dim(1), view.dim(2), 1])
    }
}

impl Composite for Normalize {
    fn name(&self) -> &'static str {
        match self.sharing {
            Sharing::Batch => "batch_norm",
            Sharing::Groups(_) => "group_norm",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let (x, affine) = match inputs {
            [x] => (x, None),
            [x, w, b] => (x, Some([w, b])),
            _ => return Err("expected an input, or an input, a weight and a bias".into()),
        };
        if x.dtype != DType::F32 || x.shape.rank() < 2 {
            return Err(format!(
                "expected f32 [N, C, …], found {} {}",
                x.dtype, x.shape
            ));
        }
        let (channels, groups) = (x.shape[1], self.groups(&x.shape));
        if channels > 0 && (groups == 0 || channels % groups != 0) {
            return Err(format!(
                "{groups} groups do not divide the {channels} channels of {}",
                x.shape
            ));
        }
        for v in affine.iter().flatten() {
            if v.dtype != DType::F32 || v.shape[..] != [channels] {
                return Err(format!(
                    "input {} needs f32 weights and biases [{channels}], found {} {}",
                    x.shape, v.dtype, v.shape
                ));
            }
        }
        Ok(*x)
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        let view = self.view(x[0]);
        let [mean, variance] = self.statistics(view);
        let y = (view - mean) * (variance + self.eps).rsqrt();
        let y = match x {
            [_, w, b] => y * self.column(view, *w) + self.column(view, *b),
            _ => y,
        };
        y.reshape(x[0].shape())
    }

    /// With `x̂ = (x − µ)/√(σ² + eps)`: `db = Σ dy`, `dw = Σ dy ⊙ x̂`, and
    /// `dx = (w dy − mean(w dy) − x̂ · mean(w dy ⊙ x̂)) / √(σ² + eps)`.
    fn vjp<'g>(&self, x: &[Var<'g>], _: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        let (view, dy) = (self.view(x[0]), self.view(dy));
        let [mean, variance] = self.statistics(view);
        let scale = (variance + self.eps).rsqrt();
        let hat = (view - mean) * scale;
        let finish = |dx: Var<'g>| Some(dx.reshape(x[0].shape()));
        let channels = |v: Var<'g>| Some(v.reshape([x[0].dim(1)]));
        let Some(&w) = x.get(1) else {
            let means = [dy, dy * hat].map(|v| self.mean(v));
            return vec![finish((dy - means[0] - hat * means[1]) * scale)];
        };
        let w = self.column(view, w);
        if self.sharing == Sharing::Batch {
            // The weight is one for all that is summed: the sums are those of the parameters.
            let [mean_dy, mean_hat] = [dy, dy * hat].map(|v| self.mean(v));
            let dx = (dy - mean_dy - hat * mean_hat) * (scale * w);
            let count = self.count(&x[0].shape()) as f64;
            return vec![
                finish(dx),
                channels(mean_hat * count),
                channels(mean_dy * count),
            ];
        }
        let [db, dw] = [dy, dy * hat].map(|v| v.sum_keep(&[0, 3]));
        let dy = dy * w;
        let means = [dy, dy * hat].map(|v| self.mean(v));
        let dx = (dy - means[0] - hat * means[1]) * scale;
        vec![finish(dx), channels(dw), channels(db)]
    }
}

/// Are the sums of a batch taken sample by sample first? A GPU divides long reductions to few
/// elements anyway: rows that lie together in memory are better parts than any others, and tell
/// the variance in the same reading. Channels that are many, or short, are one kernel each way.
fn by_samples(view: Var<'_>) -> bool {
    let (channels, spatial) = (view.dim(1), view.dim(3));
    let terms = view.dim(0) * spatial;
    let divided = terms >= split::LONG && channels <= split::FEW;
    spatial >= SHORTEST && (divided || terms >= VERY_LONG)
}

/// The mean over these axes, which stay with size 1. Terms are scaled rather than their sum, so
/// that the sum itself is what others read and one kernel can go on with it.
fn mean<'g>(x: Var<'g>, axes: &[isize]) -> Var<'g> {
    let count: usize = axes.iter().map(|&a| x.dim(a)).product();
    (x * (1.0 / count as f64)).sum_keep(axes)
}
