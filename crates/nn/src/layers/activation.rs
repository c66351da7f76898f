//! Activation functions, as methods of `Var` and as layers.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use gradus_graph::{Layer, Scope, Var};

/// Activation functions that are made of several ops; `relu`, `sigmoid`, `tanh` and `softmax` are
/// methods of [`Var`] itself. Any shape, `f32`. NaN stays NaN on the CPU.
pub trait Activate {
    /// `x` where positive, else `slope · x`; the derivative at 0 is `slope`.
    #[must_use]
    fn leaky_relu(self, slope: f64) -> Self;

    /// `x` where positive, else `alpha · (eˣ − 1)`; the derivative at 0 is `alpha`.
    ///
    /// Source: Clevert, Unterthiner & Hochreiter (2015), arXiv:1511.07289.
    #[must_use]
    fn elu(self, alpha: f64) -> Self;

    /// `x · Φ(x) = ½ x (1 + erf(x/√2))`.
    ///
    /// Source: Hendrycks & Gimpel (2016), arXiv:1606.08415.
    #[must_use]
    fn gelu(self) -> Self;

    /// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, close to [`Activate::gelu`].
    #[must_use]
    fn gelu_tanh(self) -> Self;

    /// `x · σ(x)`, also called swish.
    #[must_use]
    fn silu(self) -> Self;

    /// `ln(1 + e^(beta·x)) / beta`, and `x` itself where `beta·x > threshold`. PyTorch's are 1
    /// and 20.
    #[must_use]
    fn softplus(self, beta: f64, threshold: f64) -> Self;
}

impl Activate for Var<'_> {
    fn leaky_relu(self, slope: f64) -> Self {
        self.gt(0.0).select(self, self * slope)
    }

    fn elu(self, alpha: f64) -> Self {
        let positive = self.gt(0.0);
        // Where x is positive eˣ may overflow, and 0 · ∞ in the gradient would be NaN.
        let negative = positive.select(0.0, self);
        positive.select(self, negative.expm1() * alpha)
    }

    fn gelu(self) -> Self {
        self * 0.5 * ((self * FRAC_1_SQRT_2).erf() + 1.0)
    }

    fn gelu_tanh(self) -> Self {
        let inner = (self + self * self * self * 0.044_715) * (2.0 / PI).sqrt();
        self * 0.5 * (inner.tanh() + 1.0)
    }

    fn silu(self) -> Self {
        self * self.sigmoid()
    }

    fn softplus(self, beta: f64, threshold: f64) -> Self {
        let scaled = self * beta;
        let linear = scaled.gt(threshold);
        // As in `elu`: no overflow where the branch is not taken.
        let curved = linear.select(0.0, scaled);
        linear.select(self, curved.exp().log1p() * (1.0 / beta))
    }
}

/// An activation function as a layer. Any shape; no parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`; the derivative at 0 is 0.
    Relu,
    /// See [`Activate::leaky_relu`].
    LeakyRelu {
        /// Factor of negative values; PyTorch's is 0.01.
        slope: f64,
    },
    /// See [`Activate::elu`].
    Elu {
        /// Where negative values saturate, with the sign changed; PyTorch's is 1.
        alpha: f64,
    },
    /// See [`Activate::gelu`].
    Gelu,
    /// See [`Activate::gelu_tanh`].
    GeluTanh,
    /// See [`Activate::silu`].
    Silu,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// See [`Activate::softplus`].
    Softplus {
        /// Sharpness of the bend, > 0.
        beta: f64,
        /// Value of `beta·x` above which the function is the identity.
        threshold: f64,
    },
    /// Softmax over the last axis.
    Softmax,
}

impl Activation {
    /// Softplus with PyTorch's settings.
    pub const SOFTPLUS: Self = Self::Softplus {
        beta: 1.0,
        threshold: 20.0,
    };

    /// The function of `x`.
    #[track_caller]
    pub fn of(self, x: Var<'_>) -> Var<'_> {
        match self {
            Self::Relu => x.relu(),
            Self::LeakyRelu { slope } => x.leaky_relu(slope),
            Self::Elu { alpha } => x.elu(alpha),
            Self::Gelu => x.gelu(),
            Self::GeluTanh => x.gelu_tanh(),
            Self::Silu => x.silu(),
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.tanh(),
            Self::Softplus { beta, threshold } => x.softplus(beta, threshold),
            Self::Softmax => x.softmax(),
        }
    }
}

impl Layer for Activation {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.of(x)
    }
}
