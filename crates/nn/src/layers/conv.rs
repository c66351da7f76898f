//! Convolutional layers.

use std::sync::Arc;

use gradus_graph::{ConvOptions, Init, Layer, Padding, PerAxis, Scope, Var};

use crate::init::{KaimingUniform, Shared, Zeros};

/// A convolution over `[N, C, L] -> [N, filters, L']`; see [`Conv`].
pub type Conv1d = Conv<1>;

/// A convolution over `[N, C, H, W] -> [N, filters, H', W']`; see [`Conv`].
pub type Conv2d = Conv<2>;

/// A transposed convolution over `[N, C, L] -> [N, filters, L']`; see [`ConvTranspose`].
pub type ConvTranspose1d = ConvTranspose<1>;

/// A transposed convolution over `[N, C, H, W] -> [N, filters, H', W']`; see [`ConvTranspose`].
pub type ConvTranspose2d = ConvTranspose<2>;

/// A convolution over `D` spatial axes; the number of channels `C` is that of the input.
///
/// ```text
/// y[n, o, p] = Σ x[n, c, stride·p + dilation·k − padding] · W[o, c, k] + b[o]    over c and k
/// ```
///
/// Parameters `weight` `[filters, C/groups, k…]` and `bias` `[filters]`. The weight starts as
/// that of [`Dense`](crate::Dense).
#[derive(Clone, Debug)]
pub struct Conv<const D: usize>(Settings);

/// A transposed convolution over `D` spatial axes, which enlarges by its stride what a
/// convolution of the same settings makes smaller. The number of channels `C` is that of the
/// input.
///
/// Parameters `weight` `[C, filters/groups, k…]` and `bias` `[filters]`.
#[derive(Clone, Debug)]
pub struct ConvTranspose<const D: usize>(Settings);

#[derive(Clone, Debug)]
struct Settings {
    filters: usize,
    kernel: PerAxis,
    options: ConvOptions,
    weight: Arc<dyn Init>,
    bias: Option<Arc<dyn Init>>,
}

macro_rules! settings {
    ($($name:ident),*) => {$(
        impl<const D: usize> $name<D> {
            /// A layer of `filters` output channels and a kernel of this size: one number, or one
            /// for each axis.
            pub fn new(filters: usize, kernel: impl Into<PerAxis>) -> Self {
                Self(Settings {
                    filters,
                    kernel: kernel.into(),
                    options: ConvOptions::new(),
                    weight: Arc::new(KaimingUniform::new()),
                    bias: Some(Arc::new(Zeros)),
                })
            }

            /// From one position of the kernel to the next; 1 unless set.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<PerAxis>) -> Self {
                self.0.options = self.0.options.stride(stride);
                self
            }

            /// Zeros around the input: a number, one for each axis, or a [`Padding`]; none unless
            /// set.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
                self.0.options = self.0.options.padding(padding);
                self
            }

            /// From one element of the kernel to the next; 1 unless set.
            #[must_use]
            pub fn dilation(mut self, dilation: impl Into<PerAxis>) -> Self {
                self.0.options = self.0.options.dilation(dilation);
                self
            }

            /// Divides the channels into groups that do not mix; 1 unless set.
            #[must_use]
            pub fn groups(mut self, groups: usize) -> Self {
                self.0.options = self.0.options.groups(groups);
                self
            }

            /// How the weight starts.
            #[must_use]
            pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
                self.0.weight = Arc::new(init);
                self
            }

            /// How the bias starts.
            #[must_use]
            pub fn bias_init(mut self, init: impl Init + 'static) -> Self {
                self.0.bias = Some(Arc::new(init));
                self
            }

            /// Leaves out the bias.
            #[must_use]
            pub fn no_bias(mut self) -> Self {
                self.0.bias = None;
                self
            }
        }
    )*};
}

settings!(Conv, ConvTranspose);

impl<const D: usize> ConvTranspose<D> {
    /// Elements added at the end of each axis of the output; 0 unless set.
    #[must_use]
    pub fn output_padding(mut self, padding: impl Into<PerAxis>) -> Self {
        self.0.options = self.0.options.output_padding(padding);
        self
    }
}

impl Settings {
    /// Checks what shapes of parameters depend on: channels, filters and groups, and the kernel,
    /// which is returned.
    fn kernel(&self, x: Var<'_>, axes: usize) -> Result<Vec<usize>, String> {
        let (shape, groups) = (x.shape(), self.options.group_count());
        if shape.rank() != axes + 2 {
            let wanted = if axes == 1 {
                "[N, C, L]"
            } else {
                "[N, C, H, W]"
            };
            return Err(format!("expected {wanted}, found {shape}"));
        }
        let (channels, filters) = (shape[1], self.filters);
        if channels == 0 || filters == 0 {
            return Err(format!(
                "needs at least 1 channel and 1 filter, found input {shape} and {filters} filters"
            ));
        }
        if groups == 0 || channels % groups != 0 || filters % groups != 0 {
            return Err(format!(
                "{groups} groups do not divide the {channels} channels of input {shape} and the {filters} filters"
            ));
        }
        self.kernel.each(axes, "kernel")
    }

    /// The parameters for a weight of this shape: the weight, and the bias as a channel axis.
    fn params<'g>(&self, scope: &Scope<'g>, weight: &[usize]) -> (Var<'g>, Option<Var<'g>>) {
        let init = Shared(Arc::clone(&self.weight));
        let w = scope.param("weight", weight, init);
        let bias = self.bias.as_ref().map(|bias| {
            let bias = scope.param("bias", self.filters, Shared(Arc::clone(bias)));
            let mut shape = vec![1; weight.len() - 1];
            shape[0] = self.filters;
            bias.reshape(shape)
        });
        (w, bias)
    }
}

impl<const D: usize> Layer for Conv<D> {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let settings = &self.0;
        let kernel = match settings.kernel(x, D) {
            Ok(kernel) => kernel,
            Err(message) => return scope.graph().fail("conv", message),
        };
        let inputs = x.dim(1) / settings.options.group_count();
        let shape = [&[settings.filters, inputs], &kernel[..]].concat();
        let (weight, bias) = settings.params(scope, &shape);
        let y = x.conv(weight, &settings.options);
        bias.map_or(y, |bias| y + bias)
    }
}

impl<const D: usize> Layer for ConvTranspose<D> {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let settings = &self.0;
        let kernel = match settings.kernel(x, D) {
            Ok(kernel) => kernel,
            Err(message) => return scope.graph().fail("conv_transpose", message),
        };
        let outputs = settings.filters / settings.options.group_count();
        let shape = [&[x.dim(1), outputs], &kernel[..]].concat();
        let (weight, bias) = settings.params(scope, &shape);
        let y = x.conv_transpose(weight, &settings.options);
        bias.map_or(y, |bias| y + bias)
    }
}
