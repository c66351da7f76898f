//! What the optimizers of Adam's family are set by.

use gradus_graph::Var;

use super::{Expected, checks};

/// The learning rate, the decay of two averages, what keeps the division safe, and weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) learning_rate: f64,
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) eps: f64,
    pub(super) weight_decay: f64,
}

impl Moments {
    /// Betas 0.9 and 0.999, eps 1e-8, no weight decay.
    pub(super) const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }

    /// Records a mistake for each setting out of range.
    #[track_caller]
    pub(super) fn check(&self, var: Var<'_>, optimizer: &'static str) {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("beta1", self.beta1, Expected::Share),
            ("beta2", self.beta2, Expected::Share),
            ("eps", self.eps, Expected::Positive),
            ("weight decay", self.weight_decay, Expected::NotNegative),
        ];
        checks(var, optimizer, &settings);
    }
}

/// The settings of an optimizer whose [`Moments`] are `self.$moments`; the last argument says what
/// its weight decay is.
macro_rules! moments {
    ($name:ident, $($moments:tt).+, $weight_decay:literal) => {
        impl $name {
            /// Decay of the averages of the gradient and of its square or size, each in [0, 1).
            #[must_use]
            pub const fn betas(mut self, beta1: f64, beta2: f64) -> Self {
                self.$($moments).+.beta1 = beta1;
                self.$($moments).+.beta2 = beta2;
                self
            }

            /// Added to what the average is divided by, > 0.
            #[must_use]
            pub const fn eps(mut self, eps: f64) -> Self {
                self.$($moments).+.eps = eps;
                self
            }

            #[doc = $weight_decay]
            #[must_use]
            pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.$($moments).+.weight_decay = weight_decay;
                self
            }
        }
    };
}

pub(super) use moments;
