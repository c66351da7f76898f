//! Layers one after another.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use gradus_graph::{Border, Layer, PerAxis, PerAxisFactor, PerSide, Scope, Var};

use crate::{Cutout, Normalize, RandomCrop, RandomFlip};

use super::{
    Activation, AvgPool, BatchNorm, Conv1d, Conv2d, Dense, Dropout, Embedding, Flatten,
    GlobalAvgPool, GroupNorm, InstanceNorm, MaxPool, Pad, PixelShuffle, PixelUnshuffle, Upsample,
};

/// Layers one after another. Parameters are named by position as in PyTorch, layers without
/// parameters included: `0.weight`, `0.bias`, `3.weight`…
///
/// A mistake in a layer names the line of the call that added it.
#[derive(Clone, Default)]
pub struct Sequential {
    layers: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    layer: Arc<dyn Layer>,
    location: &'static Location<'static>,
}

impl Sequential {
    /// No layers yet: the identity.
    pub const fn new() -> Self {
        Self { layers: Vec::new() }
    }

    /// Adds a layer.
    #[must_use]
    #[track_caller]
    pub fn layer(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Entry {
            layer: Arc::new(layer),
            location: Location::caller(),
        });
        self
    }

    /// Adds a closure as a layer.
    ///
    /// ```
    /// # use gradus_nn::{Dense, Sequential};
    /// let net = Sequential::new()
    ///     .with(|scope, x| x + scope.apply("fc", &Dense::new(x.dim(-1)), x).relu());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn with<F>(self, f: F) -> Self
    where
        F: for<'g> Fn(&Scope<'g>, Var<'g>) -> Var<'g> + Send + Sync + 'static,
    {
        self.layer(Closure(f))
    }

    /// Adds a fully connected layer of `units` outputs; see [`Dense`].
    #[must_use]
    #[track_caller]
    pub fn dense(self, units: usize) -> Self {
        self.layer(Dense::new(units))
    }

    /// Adds a table with a vector of `width` numbers for each of `tokens`; see [`Embedding`].
    #[must_use]
    #[track_caller]
    pub fn embedding(self, tokens: usize, width: usize) -> Self {
        self.layer(Embedding::new(tokens, width))
    }

    /// Adds a convolution over `[N, C, L]`: `filters` channels, a kernel of this size, stride 1,
    /// no padding. Another one is added as `.layer(Conv1d::new(16, 3).stride(2))`; see [`Conv1d`].
    #[must_use]
    #[track_caller]
    pub fn conv1d(self, filters: usize, kernel: impl Into<PerAxis>) -> Self {
        self.layer(Conv1d::new(filters, kernel))
    }

    /// Adds a convolution over `[N, C, H, W]`: `filters` channels, a kernel of this size, stride
    /// 1, no padding. Another one is added as `.layer(Conv2d::new(16, 3).stride(2))`; see
    /// [`Conv2d`].
    #[must_use]
    #[track_caller]
    pub fn conv2d(self, filters: usize, kernel: impl Into<PerAxis>) -> Self {
        self.layer(Conv2d::new(filters, kernel))
    }

    /// Adds the maximum of windows of this size, side by side; see [`MaxPool`].
    #[must_use]
    #[track_caller]
    pub fn max_pool(self, size: impl Into<PerAxis>) -> Self {
        self.layer(MaxPool::new(size))
    }

    /// Adds the mean of windows of this size, side by side; see [`AvgPool`].
    #[must_use]
    #[track_caller]
    pub fn avg_pool(self, size: impl Into<PerAxis>) -> Self {
        self.layer(AvgPool::new(size))
    }

    /// Adds the mean over all spatial axes: `[N, C, …] -> [N, C]`.
    #[must_use]
    #[track_caller]
    pub fn global_avg_pool(self) -> Self {
        self.layer(GlobalAvgPool)
    }

    /// Adds the nearest elements of a larger image, by this factor: `2.0`, `[1.0, 2.0]`. Another
    /// one is added as `.layer(Upsample::size(64).linear())`; see [`Upsample`].
    #[must_use]
    #[track_caller]
    pub fn upsample(self, factors: impl Into<PerAxisFactor>) -> Self {
        self.layer(Upsample::scale(factors))
    }

    /// Adds a border around the spatial axes; see [`Pad`].
    #[must_use]
    #[track_caller]
    pub fn pad(self, sides: impl Into<PerSide>, border: Border) -> Self {
        self.layer(Pad::new(sides, border))
    }

    /// Makes pixels of channels; see [`PixelShuffle`].
    #[must_use]
    #[track_caller]
    pub fn pixel_shuffle(self, factor: usize) -> Self {
        self.layer(PixelShuffle::new(factor))
    }

    /// Makes channels of pixels; see [`PixelUnshuffle`].
    #[must_use]
    #[track_caller]
    pub fn pixel_unshuffle(self, factor: usize) -> Self {
        self.layer(PixelUnshuffle::new(factor))
    }

    /// Adds batch normalization, channel by channel; see [`BatchNorm`].
    #[must_use]
    #[track_caller]
    pub fn batch_norm(self) -> Self {
        self.layer(BatchNorm::new())
    }

    /// Adds normalization of so many groups of channels of each sample; see [`GroupNorm`].
    #[must_use]
    #[track_caller]
    pub fn group_norm(self, groups: usize) -> Self {
        self.layer(GroupNorm::new(groups))
    }

    /// Adds normalization of each channel of each sample; see [`InstanceNorm`].
    #[must_use]
    #[track_caller]
    pub fn instance_norm(self) -> Self {
        self.layer(InstanceNorm::new())
    }

    /// Mirrors half of all samples, left and right, while training; see [`RandomFlip`].
    #[must_use]
    #[track_caller]
    pub fn random_flip(self) -> Self {
        self.layer(RandomFlip::horizontal())
    }

    /// Takes a window at a random place of each sample with this padding around it while training;
    /// see [`RandomCrop`].
    #[must_use]
    #[track_caller]
    pub fn random_crop(self, size: impl Into<PerAxis>, padding: impl Into<PerSide>) -> Self {
        self.layer(RandomCrop::new(size).padding(padding))
    }

    /// Covers a square of each sample while training; see [`Cutout`].
    #[must_use]
    #[track_caller]
    pub fn cutout(self, size: impl Into<PerAxis>) -> Self {
        self.layer(Cutout::new(size))
    }

    /// Subtracts a mean from each channel and divides by a deviation; see [`Normalize`].
    #[must_use]
    #[track_caller]
    pub fn normalize(self, mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>) -> Self {
        self.layer(Normalize::new(mean, std))
    }

    /// Adds dropout: zeros with probability `rate` in `[0, 1)` while training; see [`Dropout`].
    #[must_use]
    #[track_caller]
    pub fn dropout(self, rate: f64) -> Self {
        self.layer(Dropout::new(rate))
    }

    /// Makes one axis of all axes but the batch; see [`Flatten`].
    #[must_use]
    #[track_caller]
    pub fn flatten(self) -> Self {
        self.layer(Flatten)
    }

    /// Adds `max(x, 0)`.
    #[must_use]
    #[track_caller]
    pub fn relu(self) -> Self {
        self.layer(Activation::Relu)
    }

    /// Adds `x` where positive, else `slope · x`.
    #[must_use]
    #[track_caller]
    pub fn leaky_relu(self, slope: f64) -> Self {
        self.layer(Activation::LeakyRelu { slope })
    }

    /// Adds `x` where positive, else `alpha · (eˣ − 1)`.
    #[must_use]
    #[track_caller]
    pub fn elu(self, alpha: f64) -> Self {
        self.layer(Activation::Elu { alpha })
    }

    /// Adds `x · Φ(x)`, exact.
    #[must_use]
    #[track_caller]
    pub fn gelu(self) -> Self {
        self.layer(Activation::Gelu)
    }

    /// Adds the approximation of gelu by tanh.
    #[must_use]
    #[track_caller]
    pub fn gelu_tanh(self) -> Self {
        self.layer(Activation::GeluTanh)
    }

    /// Adds `x · σ(x)`.
    #[must_use]
    #[track_caller]
    pub fn silu(self) -> Self {
        self.layer(Activation::Silu)
    }

    /// Adds `1 / (1 + e⁻ˣ)`.
    #[must_use]
    #[track_caller]
    pub fn sigmoid(self) -> Self {
        self.layer(Activation::Sigmoid)
    }

    /// Adds the hyperbolic tangent.
    #[must_use]
    #[track_caller]
    pub fn tanh(self) -> Self {
        self.layer(Activation::Tanh)
    }

    /// Adds `ln(1 + eˣ)`.
    #[must_use]
    #[track_caller]
    pub fn softplus(self) -> Self {
        self.layer(Activation::SOFTPLUS)
    }

    /// Adds softmax over the last axis. Cross-entropy has its own: leave this out before it.
    #[must_use]
    #[track_caller]
    pub fn softmax(self) -> Self {
        self.layer(Activation::Softmax)
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// True if there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl Layer for Sequential {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.layers.iter().enumerate().fold(x, |x, (i, entry)| {
            scope.apply_at(&i.to_string(), entry.location, &*entry.layer, x)
        })
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequential({} layers)", self.len())
    }
}

struct Closure<F>(F);

impl<F> Layer for Closure<F>
where
    F: for<'g> Fn(&Scope<'g>, Var<'g>) -> Var<'g> + Send + Sync,
{
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        (self.0)(scope, x)
    }
}

#[cfg(test)]
mod tests {
    use gradus_graph::{BuildError, DType, Graph, IntoShape};

    use super::*;

    fn trace(net: &Sequential, shape: impl IntoShape) -> (Vec<String>, Result<(), BuildError>) {
        let graph = Graph::new();
        let x = graph.input("x", shape, DType::F32);
        net.forward(&Scope::root(&graph, true), x);
        let names = graph.params().into_iter().map(|p| p.name).collect();
        (names, graph.check())
    }

    #[test]
    fn indices_count_every_layer() {
        let inner = Sequential::new().dense(3).relu();
        let net = Sequential::new().dense(4).relu().dropout(0.5).layer(inner);
        let (names, built) = trace(&net, [2, 5]);
        assert!(built.is_ok());
        assert_eq!(names, ["0.weight", "0.bias", "3.0.weight", "3.0.bias"]);
    }

    #[test]
    fn a_mistake_names_the_line_of_its_layer() {
        let net = Sequential::new().relu().layer(Dense::new(4).inputs(6));
        let (_, built) = trace(&net, [2, 5]);
        let error = built.unwrap_err();
        assert_eq!(error.layer, "1");
        assert_eq!(error.location.line(), line!() - 4);
        assert!(error.location.file().ends_with("sequential.rs"));
        let message = error.message;
        assert_eq!(message, "expected an input of 6 features, found [2, 5]");
    }

    #[test]
    fn convolutions_are_named_as_in_pytorch() {
        let net = Sequential::new().conv2d(4, 3).relu().max_pool(2);
        let net = net.layer(Conv2d::new(6, [1, 2]).groups(2).no_bias());
        let (names, built) = trace(&net.global_avg_pool().dense(10), [2, 3, 8, 8]);
        assert!(built.is_ok());
        let wanted = ["0.weight", "0.bias", "3.weight", "5.weight", "5.bias"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn normalizations_are_named_as_in_pytorch() {
        let net = Sequential::new().conv2d(4, 3).batch_norm().instance_norm();
        let (names, built) = trace(&net.group_norm(2), [2, 3, 8, 8]);
        assert!(built.is_ok());
        let wanted = ["0.weight", "0.bias", "1.weight", "1.bias"];
        assert_eq!(names[..4], wanted);
        assert_eq!(names[4..], ["3.weight", "3.bias"]);
    }

    #[test]
    fn sizes_follow_the_layers() {
        let net = Sequential::new().pad([(0, 1), (2, 0)], Border::Reflect);
        let net = net.upsample(2.0).pixel_unshuffle(2).upsample([1.0, 1.5]);
        let net = net.layer(Upsample::size(6).linear()).pixel_shuffle(2);
        let graph = Graph::new();
        let x = graph.input("x", [2, 3, 5, 4], DType::F32);
        let y = net.forward(&Scope::root(&graph, true), x);
        assert!(graph.check().is_ok());
        assert_eq!(y.shape()[..], [2, 3, 12, 12]);
    }

    #[test]
    fn a_kernel_that_does_not_fit_names_its_line_and_the_shapes() {
        let (_, built) = trace(&Sequential::new().conv2d(4, 9), [2, 3, 8, 8]);
        let error = built.unwrap_err();
        assert_eq!(error.location.line(), line!() - 2);
        let message = error.message;
        assert!(message.contains("[2, 3, 8, 8]"), "{message}");
        assert!(message.contains("a kernel of 9"), "{message}");
        let (_, built) = trace(&Sequential::new().conv2d(4, 3), [2, 64]);
        let message = built.unwrap_err().message;
        assert_eq!(message, "expected [N, C, H, W], found [2, 64]");
    }

    #[test]
    fn a_bad_rate_is_an_error() {
        let (_, built) = trace(&Sequential::new().dropout(1.0), [2, 5]);
        assert!(built.unwrap_err().message.contains("found 1"));
    }
}
