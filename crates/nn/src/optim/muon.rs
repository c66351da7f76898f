//! Muon.

use gradus_graph::{At, Optimizer, Rate, Update, Var, Whole, whole};

use super::{Expected, checks, row, wants, word};
use crate::{Groups, Params};

/// The coefficients of Newton and Schulz's iteration.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];

/// Muon: steps in the direction of the orthogonal matrix that is nearest to the momentum.
///
/// ```text
/// m ← μ m + (1 − μ) g
/// u = μ m + (1 − μ) g, or m without Nesterov's momentum
/// X₀ = u / max(‖u‖, eps), Xₖ₊₁ = a Xₖ + (b A + c A²) Xₖ, A = Xₖ Xₖᵀ      five times
/// p ← (1 − learning_rate · weight_decay) · p − learning_rate · √max(1, rows / columns) · X₅
/// ```
///
/// with a = 3.4445, b = −4.775, c = 2.0315. For matrices alone: all other parameters, and best
/// also embeddings and the last layer, have another optimizer, see [`Muon::rest`]. State
/// `momentum_buffer` (m). Every matrix takes about twenty kernels a step.
///
/// Source: Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks";
/// defaults and formulas are those of `torch.optim.Muon`.
#[derive(Clone, Debug, PartialEq)]
pub struct Muon {
    learning_rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    eps: f64,
    iterations: u32,
    match_adamw: bool,
}

impl Muon {
    /// Muon with this learning rate, > 0; PyTorch's is 1e-3. Momentum 0.95, Nesterov's, weight
    /// decay 0.1, eps 1e-7, five iterations.
    pub const fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.1,
            eps: 1e-7,
            iterations: 5,
            match_adamw: false,
        }
    }

    /// The share of the momentum that is kept, in [0, 1).
    #[must_use]
    pub const fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The momentum itself is the direction.
    #[must_use]
    pub const fn no_nesterov(mut self) -> Self {
        self.nesterov = false;
        self
    }

    /// Share of a parameter that goes in a step, in units of the learning rate, ≥ 0.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// The least norm that is divided by, > 0.
    #[must_use]
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Iterations of Newton and Schulz, at least 1.
    #[must_use]
    pub const fn iterations(mut self, iterations: u32) -> Self {
        self.iterations = iterations;
        self
    }

    /// Steps as large as AdamW's, so that its learning rate and weight decay fit: the factor is
    /// `0.2 · √max(rows, columns)`. PyTorch's `adjust_lr_fn="match_rms_adamw"`.
    ///
    /// Source: Liu et al. (2025), arXiv:2502.16982, eq. 4.
    #[must_use]
    pub const fn match_adamw(mut self) -> Self {
        self.match_adamw = true;
        self
    }

    /// Muon for matrices but these, `optimizer` for them and all other parameters.
    ///
    /// ```
    /// use gradus_nn::{AdamW, Muon, params};
    ///
    /// let muon = Muon::new(0.02).rest(params("head.").or(params("embed.")), AdamW::new(3e-4));
    /// ```
    pub fn rest(self, but: Params, optimizer: impl Optimizer + 'static) -> Groups {
        Groups::new(optimizer).group(Params::matrices().except(but), self)
    }

    fn check(&self, var: Var<'_>) {
        let settings = [
            ("learning rate", self.learning_rate, Expected::Positive),
            ("momentum", self.momentum, Expected::Share),
            ("weight decay", self.weight_decay, Expected::NotNegative),
            ("eps", self.eps, Expected::Positive),
            (
                "the number of iterations",
                self.iterations.into(),
                Expected::Positive,
            ),
        ];
        checks(var, "muon", &settings);
    }
}

impl Whole for Muon {
    fn before<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.check(param);
        if let Err(unchanged) = wants("muon", self, param, states) {
            return unchanged;
        }
        Update {
            param,
            states: vec![states[0] * word(param, 1) + grad * word(param, 2)],
        }
    }

    fn direction<'g>(&self, grad: Var<'g>, states: &[Var<'g>]) -> Var<'g> {
        let shape = grad.shape();
        let (&[rows, columns], Some(&m)) = (&shape[..], states.first()) else {
            let message = format!(
                "needs matrices, found {shape}: give other parameters an optimizer of their own \
                 with `.rest(…)`"
            );
            return grad.graph().fail("muon", message);
        };
        let u = match self.nesterov {
            true => m * word(m, 1) + grad * word(m, 2),
            false => m,
        };
        let wide = match rows > columns {
            true => u.transpose(),
            false => u,
        };
        let norm = wide.square().sum_all().sqrt().maximum(self.eps);
        let mut x = wide / norm;
        let [a, b, c] = COEFFICIENTS;
        for _ in 0..self.iterations {
            let gram = x.matmul(x.transpose());
            let step = gram * b + gram.matmul(gram) * c;
            x = x * a + step.matmul(x);
        }
        match rows > columns {
            true => x.transpose(),
            false => x,
        }
    }

    fn after<'g>(&self, param: Var<'g>, direction: Var<'g>) -> Var<'g> {
        let (rows, columns) = match &param.shape()[..] {
            &[rows, columns] => (rows as f64, columns as f64),
            _ => (1.0, 1.0),
        };
        let factor = match self.match_adamw {
            true => 0.2 * rows.max(columns).sqrt(),
            false => (rows / columns).max(1.0).sqrt(),
        };
        param * word(param, 3) - direction * (word(param, 0) * factor)
    }
}

impl Optimizer for Muon {
    fn states(&self) -> Vec<&'static str> {
        vec!["momentum_buffer"]
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
        }
    }

    fn row(&self, _: u32, rate: Rate) -> Vec<f32> {
        let shrink = 1.0 - rate.learning_rate * self.weight_decay;
        row(&[
            rate.learning_rate,
            rate.momentum,
            1.0 - rate.momentum,
            shrink,
        ])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        whole(self, param, grad, states)
    }

    fn whole(&self, _: usize) -> Option<&dyn Whole> {
        Some(self)
    }
}
