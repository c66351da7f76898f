//! Pooling layers, over `[N, C, L]` or `[N, C, H, W]`. No parameters.

use gradus_graph::{Layer, PerAxis, PoolOptions, Scope, Var};

/// The largest element of each window; see [`Var::max_pool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPool(PoolOptions);

/// The mean of each window; see [`Var::avg_pool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvgPool(PoolOptions);

macro_rules! pool {
    ($($name:ident),*) => {$(
        impl $name {
            /// Windows of this size, side by side: one number, or one for each axis.
            pub fn new(size: impl Into<PerAxis>) -> Self {
                Self(PoolOptions::new(size))
            }

            /// From one window to the next; its size unless set.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<PerAxis>) -> Self {
                self.0 = self.0.stride(stride);
                self
            }

            /// Elements added on both sides, at most half the window; none unless set.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<PerAxis>) -> Self {
                self.0 = self.0.padding(padding);
                self
            }

            /// Keeps a last window that begins inside but does not fit.
            #[must_use]
            pub fn ceil_mode(mut self) -> Self {
                self.0 = self.0.ceil_mode();
                self
            }
        }
    )*};
}

pool!(MaxPool, AvgPool);

impl MaxPool {
    /// From one element of the window to the next; 1 unless set.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<PerAxis>) -> Self {
        self.0 = self.0.dilation(dilation);
        self
    }
}

impl AvgPool {
    /// Divides by the number of elements of the input alone, without the padding.
    #[must_use]
    pub fn exclude_padding(mut self) -> Self {
        self.0 = self.0.exclude_padding();
        self
    }
}

impl Layer for MaxPool {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.max_pool(&self.0)
    }
}

impl Layer for AvgPool {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.avg_pool(&self.0)
    }
}

/// The mean over parts of each axis, as many as asked for; see [`Var::adaptive_avg_pool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool(PerAxis);

impl AdaptiveAvgPool {
    /// Parts of each axis: one number, or one for each axis.
    pub fn new(size: impl Into<PerAxis>) -> Self {
        Self(size.into())
    }
}

impl Layer for AdaptiveAvgPool {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.adaptive_avg_pool(self.0.clone())
    }
}

/// The mean over all spatial axes: `[N, C, …] -> [N, C]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        x.global_avg_pool()
    }
}
