//! Reductions made of others: moments, norms, truth. Negative axes count from the end.

use super::Var;
use crate::{DType, Scalar};

impl<'g> Var<'g> {
    /// Elements that one result over these axes is made of.
    fn count_over(self, axes: &[usize]) -> usize {
        axes.iter().map(|&a| self.shape()[a]).product()
    }

    /// The axes, if this is `f32`; `None`, with the mistake recorded, if not.
    #[track_caller]
    fn float_axes(self, op: &'static str, axes: &[isize]) -> Option<Vec<usize>> {
        let list = self.named_axes(op, axes)?;
        if !self.dtype().is_float() {
            let found = self.dtype();
            self.graph.fail(op, format!("expected f32, found {found}"));
            return None;
        }
        Some(list)
    }

    /// The variance over these axes, which stay with size 1: `Σ (x − mean)² / (n − correction)`.
    ///
    /// `correction` 1 gives the unbiased estimate (PyTorch's default), 0 the biased one. NaN where
    /// `n ≤ correction`: of one element with correction 1, and of nothing.
    #[track_caller]
    pub fn var_keep(self, axes: &[isize], correction: f64) -> Self {
        let Some(list) = self.float_axes("var", axes) else {
            return self.poison();
        };
        if !correction.is_finite() || correction < 0.0 {
            let message = format!("correction {correction} must be a finite number, 0 or above");
            return self.graph.fail("var", message);
        }
        let degrees = self.count_over(&list) as f64 - correction;
        if degrees <= 0.0 {
            let kept = list.iter().fold(self.shape(), |s, &a| s.with_axis(a, 1));
            return self.graph.full(kept, f64::NAN);
        }
        let centered = self - self.mean_keep(axes);
        centered.square().sum_keep(axes) * (1.0 / degrees)
    }

    /// The variance over these axes, which go; see [`Var::var_keep`].
    #[track_caller]
    pub fn var(self, axes: &[isize], correction: f64) -> Self {
        self.var_keep(axes, correction)
            .squeeze_reduced(axes, self.shape())
    }

    /// The standard deviation over these axes, which stay with size 1: the root of
    /// [`Var::var_keep`]. Its gradient is 0 where it is 0, as in PyTorch.
    #[track_caller]
    pub fn std_keep(self, axes: &[isize], correction: f64) -> Self {
        self.var_keep(axes, correction).root()
    }

    /// The standard deviation over these axes, which go; see [`Var::std_keep`].
    #[track_caller]
    pub fn std(self, axes: &[isize], correction: f64) -> Self {
        self.std_keep(axes, correction)
            .squeeze_reduced(axes, self.shape())
    }

    /// `√x` with the derivative 0 at 0.
    #[track_caller]
    fn root(self) -> Self {
        let zero = self.eq(0.0);
        zero.select(0.0, zero.select(1.0, self).sqrt())
    }

    /// `ln Σ eˣ` over these axes, which stay with size 1, shifted by the largest element so that
    /// nothing overflows; −∞ of nothing, and where all elements are −∞.
    #[track_caller]
    pub fn logsumexp_keep(self, axes: &[isize]) -> Self {
        let Some(list) = self.float_axes("logsumexp", axes) else {
            return self.poison();
        };
        if self.count_over(&list) == 0 {
            return self.sum_keep(axes).log();
        }
        let peak = self.stop_gradient().max_keep(axes);
        // An infinite peak shifts nothing: ∞ − ∞ would be NaN.
        let peak = peak.abs().le(f64::from(f32::MAX)).select(peak, 0.0);
        (self - peak).exp().sum_keep(axes).log() + peak
    }

    /// `ln Σ eˣ` over these axes, which go; see [`Var::logsumexp_keep`].
    #[track_caller]
    pub fn logsumexp(self, axes: &[isize]) -> Self {
        self.logsumexp_keep(axes)
            .squeeze_reduced(axes, self.shape())
    }

    /// The p-norm over these axes, which stay with size 1: `(Σ |x|ᵖ)^(1/p)`.
    ///
    /// `p = ∞` is the largest `|x|` (ties share the gradient), `p = −∞` the smallest, `p = 0` counts
    /// elements that are not 0. The gradient is 0 where the norm is 0, and for zero elements, as in
    /// PyTorch. Of nothing 0; with `p = ±∞` an error.
    #[track_caller]
    pub fn norm_keep(self, axes: &[isize], p: f64) -> Self {
        if self.float_axes("norm", axes).is_none() {
            return self.poison();
        }
        if p.is_nan() {
            return self.graph.fail("norm", "p is NaN".to_string());
        }
        let zero = self.eq(0.0);
        match p {
            f64::INFINITY => self.abs().max_keep(axes),
            f64::NEG_INFINITY => self.abs().min_keep(axes),
            0.0 => zero.select(0.0, 1.0).sum_keep(axes),
            1.0 => self.abs().sum_keep(axes),
            2.0 => self.square().sum_keep(axes).root(),
            _ => {
                let powers = zero.select(0.0, zero.select(1.0, self).abs().pow(p));
                let total = powers.sum_keep(axes);
                // 0 to a negative power is infinite, and so is the sum it is in.
                let none = match p < 0.0 {
                    true => total.eq(0.0).or(zero.any_keep(axes)),
                    false => total.eq(0.0),
                };
                none.select(0.0, none.select(1.0, total).pow(1.0 / p))
            }
        }
    }

    /// The p-norm over these axes, which go; see [`Var::norm_keep`].
    #[track_caller]
    pub fn norm(self, axes: &[isize], p: f64) -> Self {
        self.norm_keep(axes, p).squeeze_reduced(axes, self.shape())
    }

    /// Whether any element over these axes, which stay with size 1, is true or not 0; false of
    /// nothing. NaN is not 0.
    #[track_caller]
    pub fn any_keep(self, axes: &[isize]) -> Self {
        self.truth("any", axes, |v| v.max_keep(axes), false)
    }

    /// Whether any element over these axes, which go, is true or not 0; see [`Var::any_keep`].
    #[track_caller]
    pub fn any(self, axes: &[isize]) -> Self {
        self.any_keep(axes).squeeze_reduced(axes, self.shape())
    }

    /// Whether all elements over these axes, which stay with size 1, are true or not 0; true of
    /// nothing.
    #[track_caller]
    pub fn all_keep(self, axes: &[isize]) -> Self {
        self.truth("all", axes, |v| v.min_keep(axes), true)
    }

    /// Whether all elements over these axes, which go, are true or not 0; see [`Var::all_keep`].
    #[track_caller]
    pub fn all(self, axes: &[isize]) -> Self {
        self.all_keep(axes).squeeze_reduced(axes, self.shape())
    }

    #[track_caller]
    fn truth(
        self,
        op: &'static str,
        axes: &[isize],
        reduce: impl Fn(Self) -> Self,
        of_nothing: bool,
    ) -> Self {
        let Some(list) = self.named_axes(op, axes) else {
            return self.poison();
        };
        if self.count_over(&list) == 0 {
            let kept = list.iter().fold(self.shape(), |s, &a| s.with_axis(a, 1));
            return self.graph.full(kept, Scalar::Bool(of_nothing));
        }
        reduce(self.is_nonzero().cast(DType::U32)).ne(0)
    }

    /// True for what is not 0; NaN is not.
    #[track_caller]
    fn is_nonzero(self) -> Self {
        match self.dtype() {
            DType::Bool => self,
            other => self.ne(Scalar::zero(other)),
        }
    }

    /// How many elements over these axes, which stay with size 1, are true or not 0; `i32`.
    #[track_caller]
    pub fn count_nonzero_keep(self, axes: &[isize]) -> Self {
        match self.named_axes("count_nonzero", axes) {
            Some(_) => self.is_nonzero().cast(DType::I32).sum_keep(axes),
            None => self.poison(),
        }
    }

    /// How many elements over these axes, which go, are true or not 0; `i32`.
    #[track_caller]
    pub fn count_nonzero(self, axes: &[isize]) -> Self {
        self.count_nonzero_keep(axes)
            .squeeze_reduced(axes, self.shape())
    }
}
