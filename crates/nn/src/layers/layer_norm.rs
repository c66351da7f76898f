//! Normalization of each sample, or each token, by itself.

use std::sync::Arc;

use gradus_graph::ops::{self, Composite};
use gradus_graph::{Init, Layer, Scope, Var};

use crate::init::{Ones, Shared, Zeros};

/// Layer normalization over the last axis, or the last few: `[…, N] -> […, N]`. The same in training
/// and evaluation.
///
/// ```text
/// y = (x − µ) / √(σ² + eps) · w + b      σ² = mean (x − µ)²
/// ```
///
/// Parameters `weight` (1 at first) and `bias` (0) `[N]`, as in PyTorch.
///
/// Source: Ba, Kiros & Hinton (2016), arXiv:1607.06450.
#[derive(Clone, Debug)]
pub struct LayerNorm(Settings);

/// Normalization by the root of the mean square over the last axis, or the last few:
/// `[…, N] -> […, N]`. The same in training and evaluation.
///
/// ```text
/// y = x / √(mean x² + eps) · w
/// ```
///
/// Parameter `weight` (1 at first) `[N]`, as in PyTorch.
///
/// Source: Zhang & Sennrich (2019), arXiv:1910.07467.
#[derive(Clone, Debug)]
pub struct RmsNorm(Settings);

#[derive(Clone, Debug)]
struct Settings {
    axes: usize,
    eps: f64,
    weight: Option<Arc<dyn Init>>,
    bias: Option<Arc<dyn Init>>,
}

macro_rules! settings {
    ($($name:ident),*) => {$(
        impl $name {
            /// What is added below the root, above 0.
            #[must_use]
            pub const fn eps(mut self, eps: f64) -> Self {
                self.0.eps = eps;
                self
            }

            /// How many axes are normalized together, the last ones; 1 unless set.
            #[must_use]
            pub const fn axes(mut self, axes: usize) -> Self {
                self.0.axes = axes;
                self
            }

            /// How the weight starts; 1 unless set.
            #[must_use]
            pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
                self.0.weight = Some(Arc::new(init));
                self
            }

            /// Leaves out all parameters.
            #[must_use]
            pub fn no_affine(mut self) -> Self {
                (self.0.weight, self.0.bias) = (None, None);
                self
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    )*};
}

settings!(LayerNorm, RmsNorm);

impl LayerNorm {
    /// With PyTorch's settings: eps 1e-5, weight and bias.
    pub fn new() -> Self {
        Self(Settings {
            axes: 1,
            eps: 1e-5,
            weight: Some(Arc::new(Ones)),
            bias: Some(Arc::new(Zeros)),
        })
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.0.bias = None;
        self
    }
}

impl RmsNorm {
    /// With PyTorch's settings: eps is the distance from 1 to the next float, one weight.
    pub fn new() -> Self {
        Self(Settings {
            axes: 1,
            eps: f64::from(f32::EPSILON),
            weight: Some(Arc::new(Ones)),
            bias: None,
        })
    }
}

impl Layer for LayerNorm {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.0.apply(scope, x, true)
    }
}

impl Layer for RmsNorm {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.0.apply(scope, x, false)
    }
}

impl Settings {
    fn apply<'g>(&self, scope: &Scope<'g>, x: Var<'g>, centered: bool) -> Var<'g> {
        if x.is_poisoned() {
            return x;
        }
        let op = ops::LayerNorm {
            axes: self.axes,
            eps: self.eps,
            centered,
        };
        let fail = |message| scope.graph().fail(op.name(), message);
        let shape = match op.infer(&[x.meta()]) {
            Ok(meta) => meta.shape,
            Err(message) => return fail(message),
        };
        let row = &shape[shape.rank() - self.axes..];
        if row.contains(&0) {
            return fail(format!("{shape} has nothing to normalize"));
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return fail(format!("eps must be above 0, found {}", self.eps));
        }
        let param = |name, init: &Option<Arc<dyn Init>>| {
            let init = init.as_ref()?;
            Some(scope.param(name, row, Shared(Arc::clone(init))))
        };
        let weight = param("weight", &self.weight);
        let affine: Vec<Var<'g>> = weight
            .into_iter()
            .chain(param("bias", &self.bias))
            .collect();
        x.composite(op, &affine)
    }
}
