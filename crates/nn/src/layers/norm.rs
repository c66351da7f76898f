//! Normalization layers.

use std::sync::Arc;

use gradus_graph::ops::{Composite, Normalize, Sharing};
use gradus_graph::{DType, Init, Layer, Scope, Var};

use crate::init::{Ones, Shared, Zeros};

/// Batch normalization of `[N, C]`, `[N, C, L]` or `[N, C, H, W]`, channel by channel.
///
/// ```text
/// y = (x − µ) / √(σ² + eps) · w + b
/// ```
///
/// While training, µ and σ² (biased) are those of the batch, and the running statistics follow
/// them, the variance unbiased:
///
/// ```text
/// running = (1 − momentum) · running + momentum · batch
/// ```
///
/// Otherwise µ and σ² are the running statistics. A batch that has one value for each channel has
/// no variance and cannot be built.
///
/// Parameters `weight` (1 at first) and `bias` (0) `[C]`; states `running_mean` (0) and
/// `running_var` (1) `[C]` and `num_batches_tracked`, as in PyTorch.
///
/// Source: Ioffe & Szegedy (2015), arXiv:1502.03167.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    eps: f64,
    momentum: Momentum,
    affine: Option<Affine>,
}

/// How weight and bias start.
#[derive(Clone, Debug)]
struct Affine {
    weight: Arc<dyn Init>,
    bias: Arc<dyn Init>,
}

#[derive(Clone, Copy, Debug)]
enum Momentum {
    Fixed(f64),
    Cumulative,
}

macro_rules! settings {
    ($($name:ident),*) => {$(
        impl $name {
            /// What is added to the variance, above 0.
            #[must_use]
            pub const fn eps(mut self, eps: f64) -> Self {
                self.eps = eps;
                self
            }

            /// How the weight starts; 1 unless set. The last normalization before a residual sum
            /// may start at 0.
            #[must_use]
            pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
                self.affine.get_or_insert_with(Affine::new).weight = Arc::new(init);
                self
            }

            /// How the bias starts; 0 unless set.
            #[must_use]
            pub fn bias_init(mut self, init: impl Init + 'static) -> Self {
                self.affine.get_or_insert_with(Affine::new).bias = Arc::new(init);
                self
            }

            /// Leaves out weight and bias.
            #[must_use]
            pub fn no_affine(mut self) -> Self {
                self.affine = None;
                self
            }
        }
    )*};
}

settings!(BatchNorm, GroupNorm);

impl BatchNorm {
    /// With PyTorch's settings: eps 1e-5, momentum 0.1, weight and bias.
    pub fn new() -> Self {
        Self {
            eps: 1e-5,
            momentum: Momentum::Fixed(0.1),
            affine: Some(Affine::new()),
        }
    }

    /// The share that a new batch has in the running statistics, in [0, 1]. Keras counts the
    /// other way: its 0.99 is 0.01 here.
    #[must_use]
    pub const fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = Momentum::Fixed(momentum);
        self
    }

    /// Running statistics that are plain means over all batches so far, as PyTorch's momentum
    /// `None`.
    #[must_use]
    pub const fn cumulative(mut self) -> Self {
        self.momentum = Momentum::Cumulative;
        self
    }

    fn check(&self, x: Var<'_>, training: bool) -> Result<(), String> {
        if x.dtype() != DType::F32 || !(2..=4).contains(&x.rank()) {
            let (found, shape) = (x.dtype(), x.shape());
            return Err(format!(
                "expected f32 [N, C], [N, C, L] or [N, C, H, W], found {found} {shape}"
            ));
        }
        if let Momentum::Fixed(m) = self.momentum
            && !(0.0..=1.0).contains(&m)
        {
            return Err(format!("momentum must be in [0, 1], found {m}"));
        }
        let count = self.op().count(&x.shape());
        if training && count < 2 {
            return Err(format!(
                "needs at least 2 values for each channel to train, found {count} in {}; choose a \
                 batch size that leaves no single sample for the last batch",
                x.shape()
            ));
        }
        check(self.op(), x)
    }

    const fn op(&self) -> Normalize {
        Normalize {
            sharing: Sharing::Batch,
            eps: self.eps,
        }
    }
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for BatchNorm {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        if let Err(message) = self.check(x, scope.training()) {
            return scope.graph().fail("batch_norm", message);
        }
        let channels = x.dim(1);
        let affine = params(scope, channels, self.affine.as_ref());
        let mean = scope.state("running_mean", channels, DType::F32, 0.0);
        let variance = scope.state("running_var", channels, DType::F32, 1.0);
        let batches = scope.state("num_batches_tracked", (), DType::I32, 0);
        if !scope.training() {
            let mut column = vec![1; x.rank()];
            column[1] = channels;
            let column = |v: Var<'g>| v.reshape(&column[..]);
            let y = (x - column(mean)) * column((variance + self.eps).rsqrt());
            return match affine.as_slice() {
                [w, b] => y * column(*w) + column(*b),
                _ => y,
            };
        }
        let [batch_mean, batch_variance] = self.op().moments(x.stop_gradient());
        let count = self.op().count(&x.shape()) as f64;
        let unbiased = batch_variance * (count / (count - 1.0));
        // Applied before in this step, the layer has seen that batch too.
        let [mean_now, variance_now, batches_now] =
            [mean, variance, batches].map(|state| scope.latest(state));
        let seen = batches_now + 1;
        let follow = |running: Var<'g>, batch: Var<'g>| match self.momentum {
            Momentum::Fixed(m) => running * (1.0 - m) + batch * m,
            Momentum::Cumulative => running + (batch - running) / seen.cast(DType::F32),
        };
        scope.update(mean, follow(mean_now, batch_mean));
        scope.update(variance, follow(variance_now, unbiased));
        scope.update(batches, seen);
        x.composite(self.op(), &affine)
    }
}

/// Group normalization of `[N, C, …]`: each group of neighbouring channels of each sample has a
/// mean and a variance (biased) of its own. The same in training and evaluation.
///
/// ```text
/// y = (x − µ) / √(σ² + eps) · w + b
/// ```
///
/// Parameters `weight` (1 at first) and `bias` (0) `[C]`.
///
/// Source: Wu & He (2018), arXiv:1803.08494.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    groups: usize,
    eps: f64,
    affine: Option<Affine>,
}

impl GroupNorm {
    /// So many groups, which divide the channels; eps 1e-5, weight and bias.
    pub fn new(groups: usize) -> Self {
        Self {
            groups,
            eps: 1e-5,
            affine: Some(Affine::new()),
        }
    }
}

impl Layer for GroupNorm {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let op = Normalize {
            sharing: Sharing::Groups(self.groups),
            eps: self.eps,
        };
        in_groups(scope, x, "group_norm", op, self.affine.as_ref())
    }
}

/// Instance normalization of `[N, C, …]`: each channel of each sample has a mean and a variance
/// (biased) of its own. The same in training and evaluation.
///
/// ```text
/// y = (x − µ) / √(σ² + eps)
/// ```
///
/// As in PyTorch there are no parameters unless asked for.
///
/// Source: Ulyanov, Vedaldi & Lempitsky (2016), arXiv:1607.08022.
#[derive(Clone, Debug)]
pub struct InstanceNorm {
    eps: f64,
    affine: Option<Affine>,
}

impl InstanceNorm {
    /// With PyTorch's settings: eps 1e-5, no parameters.
    pub fn new() -> Self {
        Self {
            eps: 1e-5,
            affine: None,
        }
    }

    /// What is added to the variance, above 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Scales and shifts each channel: parameters `weight` (1 at first) and `bias` (0) `[C]`.
    #[must_use]
    pub fn affine(mut self) -> Self {
        self.affine = Some(Affine::new());
        self
    }
}

impl Default for InstanceNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for InstanceNorm {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let op = Normalize {
            sharing: Sharing::Groups(x.dim(1)),
            eps: self.eps,
        };
        in_groups(scope, x, "instance_norm", op, self.affine.as_ref())
    }
}

fn in_groups<'g>(
    scope: &Scope<'g>,
    x: Var<'g>,
    name: &'static str,
    op: Normalize,
    affine: Option<&Affine>,
) -> Var<'g> {
    if x.is_poisoned() {
        return x;
    }
    let checked = check(op, x).and_then(|()| match op.count(&x.shape()) {
        count @ 0..2 => Err(format!(
            "needs at least 2 values in each group, found {count} in {}",
            x.shape()
        )),
        _ => Ok(()),
    });
    match checked {
        Ok(()) => x.composite(op, &params(scope, x.dim(1), affine)),
        Err(message) => scope.graph().fail(name, message),
    }
}

/// The mistakes that do not depend on how much is shared.
fn check(op: Normalize, x: Var<'_>) -> Result<(), String> {
    let shape = op.infer(&[x.meta()])?.shape;
    if shape[1] == 0 {
        return Err(format!("{shape} has no channels"));
    }
    match op.eps > 0.0 && op.eps.is_finite() {
        true => Ok(()),
        false => Err(format!("eps must be above 0, found {}", op.eps)),
    }
}

/// Weight and bias, or nothing.
fn params<'g>(scope: &Scope<'g>, channels: usize, affine: Option<&Affine>) -> Vec<Var<'g>> {
    let Some(Affine { weight, bias }) = affine else {
        return Vec::new();
    };
    let param = |name, init| scope.param(name, channels, Shared(Arc::clone(init)));
    vec![param("weight", weight), param("bias", bias)]
}

impl Affine {
    fn new() -> Self {
        Self {
            weight: Arc::new(Ones),
            bias: Arc::new(Zeros),
        }
    }
}
