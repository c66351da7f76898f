//! LAMB.

use gradus_graph::{At, Layerwise, Optimizer, Rate, Update, Var, layerwise};

use super::moments::{Moments, moments};
use super::{bias_corrections, row, wants, word};

/// LAMB: Adam's direction, in every parameter as long as the parameter itself.
///
/// ```text
/// m ← β1 m + (1 − β1) g
/// v ← β2 v + (1 − β2) g²
/// u ← m / (1 − β1ᵗ) / (√(v / (1 − β2ᵗ)) + eps) + weight_decay · p      t = 1, 2, …
/// p ← p − learning_rate · ‖p‖ / ‖u‖ · u
/// ```
///
/// The norms are those of whole parameters; the ratio is 1 where one of them is 0. States
/// `exp_avg` (m) and `exp_avg_sq` (v). Norms take a few kernels more, as many for a thousand
/// parameters as for one. Source: You et al. (2019), arXiv:1904.00962, algorithm 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Lamb {
    moments: Moments,
}

moments!(
    Lamb,
    moments,
    "Share of the parameter in the direction, ≥ 0."
);

impl Lamb {
    /// LAMB with this learning rate, > 0. Betas 0.9 and 0.999, eps 1e-6, weight decay 0.01, as in
    /// the paper.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            moments: Moments {
                eps: 1e-6,
                weight_decay: 0.01,
                ..Moments::new(learning_rate)
            },
        }
    }

    /// The direction, and the new averages.
    fn direction<'g>(
        &self,
        param: Var<'g>,
        grad: Var<'g>,
        states: &[Var<'g>],
    ) -> (Var<'g>, Vec<Var<'g>>) {
        self.moments.check(param, "lamb");
        let &[m, v] = states else {
            // Only where the number of states is wrong, which is a mistake already.
            let _ = wants("lamb", self, param, states);
            return (param, states.to_vec());
        };
        let m = m * word(param, 3) + grad * word(param, 4);
        let v = v * self.moments.beta2 + grad.square() * (1.0 - self.moments.beta2);
        let adam = m * word(param, 1) / (v.sqrt() * word(param, 2) + self.moments.eps);
        (adam + param * self.moments.weight_decay, vec![m, v])
    }
}

impl Layerwise for Lamb {
    fn measured<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Vec<Var<'g>> {
        vec![param, self.direction(param, grad, states).0]
    }

    fn scale<'g>(&self, norms: &[Var<'g>]) -> Option<Var<'g>> {
        let &[of_param, of_direction] = norms else {
            return None;
        };
        let both = of_param.gt(0.0).select(of_direction, 0.0).gt(0.0);
        let divisor = both.select(of_direction, 1.0);
        Some(both.select(of_param / divisor, 1.0))
    }

    fn update<'g>(
        &self,
        param: Var<'g>,
        grad: Var<'g>,
        states: &[Var<'g>],
        scale: Var<'g>,
    ) -> Update<'g> {
        let (direction, states) = self.direction(param, grad, states);
        Update {
            param: param - word(param, 0) * scale * direction,
            states,
        }
    }
}

impl Optimizer for Lamb {
    fn states(&self) -> Vec<&'static str> {
        vec!["exp_avg", "exp_avg_sq"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.moments.learning_rate,
            momentum: self.moments.beta1,
        }
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let beta1 = rate.momentum;
        let (first, second) = bias_corrections(step, beta1, self.moments.beta2);
        row(&[rate.learning_rate, first, second, beta1, 1.0 - beta1])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        layerwise(self, param, grad, states)
    }

    fn layerwise(&self) -> Option<&dyn Layerwise> {
        Some(self)
    }
}
