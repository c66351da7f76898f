//! What can be computed with tensors.

use std::panic::Location;

use gradus_graph::{At, Optimizer, Var, grad};

use super::Tensor;
use super::eager::Call;
use crate::TensorError;

/// # Operations
///
/// All fail with [`TensorError::Expression`] for shapes or dtypes that do not fit, and with what
/// devices fail with. Binary ops broadcast as in NumPy.
impl Tensor {
    /// Computes an expression of tensors: its parts are fused where they can be.
    ///
    /// ```
    /// use gradus_tensor::{Tensor, TensorError};
    ///
    /// fn swish_and_mean(x: &Tensor) -> Result<[Tensor; 2], TensorError> {
    ///     Tensor::compute([x], |[x]| [x * x.sigmoid(), x.mean_all()])
    /// }
    /// ```
    ///
    /// Random numbers in it are those of step 0 and seed 0 at every call.
    ///
    /// # Errors
    ///
    /// [`TensorError::Expression`], also for no tensors or tensors of different devices;
    /// [`TensorError::BadIndex`].
    pub fn compute<const N: usize, const M: usize>(
        inputs: [&Self; N],
        build: impl for<'g> FnOnce([Var<'g>; N]) -> [Var<'g>; M],
    ) -> Result<[Self; M], TensorError> {
        let call = Call {
            inputs: &inputs,
            row: &[],
            location: None,
        };
        call.results(build)
    }

    /// The matrix product `[.., M, K] × [.., K, N] -> [.., M, N]`.
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Result<Self, TensorError> {
        self.with(other, Location::caller(), |a, b| a.matmul(b))
    }

    /// `a + b`
    #[track_caller]
    pub fn add(&self, other: &Self) -> Result<Self, TensorError> {
        self.with(other, Location::caller(), |a, b| a + b)
    }

    /// `a − b`
    #[track_caller]
    pub fn sub(&self, other: &Self) -> Result<Self, TensorError> {
        self.with(other, Location::caller(), |a, b| a - b)
    }

    /// `a · b`, element by element.
    #[track_caller]
    pub fn mul(&self, other: &Self) -> Result<Self, TensorError> {
        self.with(other, Location::caller(), |a, b| a * b)
    }

    /// An expression of this tensor alone, such as `x.map(|x| (-x).exp())`, or an activation of the
    /// layers' crate: `x.map(|x| x.gelu())`.
    #[track_caller]
    pub fn map(&self, build: impl for<'g> FnOnce(Var<'g>) -> Var<'g>) -> Result<Self, TensorError> {
        self.alone(Location::caller(), build)
    }

    /// `max(x, 0)`
    #[track_caller]
    pub fn relu(&self) -> Result<Self, TensorError> {
        self.alone(Location::caller(), |x| x.relu())
    }

    /// `1 / (1 + e⁻ˣ)`
    #[track_caller]
    pub fn sigmoid(&self) -> Result<Self, TensorError> {
        self.alone(Location::caller(), |x| x.sigmoid())
    }

    /// `tanh x`
    #[track_caller]
    pub fn tanh(&self) -> Result<Self, TensorError> {
        self.alone(Location::caller(), |x| x.tanh())
    }

    /// Softmax over the last axis.
    #[track_caller]
    pub fn softmax(&self) -> Result<Self, TensorError> {
        self.alone(Location::caller(), |x| x.softmax())
    }

    /// The mean cross-entropy of these logits, `[B, C]`, for labels `[B]` of an integer dtype; and
    /// its gradient with respect to the logits, `[B, C]`. Waits, to check the labels.
    ///
    /// # Errors
    ///
    /// [`TensorError::BadIndex`] for a label outside `0..C`.
    #[track_caller]
    pub fn softmax_cross_entropy(&self, labels: &Self) -> Result<(Self, Self), TensorError> {
        let call = Call {
            inputs: &[self, labels],
            row: &[],
            location: Some(Location::caller()),
        };
        let [loss, gradient] = call.results(|[logits, labels]| {
            let loss = logits.cross_entropy(labels).mean_all();
            let gradient = grad(loss, &[logits]).first().copied();
            [loss, gradient.unwrap_or(loss)]
        })?;
        Ok((loss, gradient))
    }

    /// One step of an optimizer, `step` counted from 0: replaces this tensor and the optimizer's
    /// states of it, one for each of [`Optimizer::states`], at first full of
    /// [`Optimizer::initial`], in its shape. On an error all are as before.
    #[track_caller]
    pub fn update(
        &mut self,
        optimizer: &dyn Optimizer,
        step: u32,
        gradient: &Self,
        states: &mut [Self],
    ) -> Result<(), TensorError> {
        let mut inputs = vec![&*self, gradient];
        inputs.extend(states.iter());
        let call = Call {
            inputs: &inputs,
            row: &optimizer.words(&At::step(step)),
            location: Some(Location::caller()),
        };
        let updated = call.run(|vars| {
            let [param, gradient, states @ ..] = vars else {
                return Vec::new();
            };
            let update = optimizer.update(*param, *gradient, states);
            [update.param].into_iter().chain(update.states).collect()
        })?;
        let places = [self].into_iter().chain(states);
        places.zip(updated).for_each(|(place, new)| *place = new);
        Ok(())
    }

    fn alone(
        &self,
        location: &'static Location<'static>,
        build: impl for<'g> FnOnce(Var<'g>) -> Var<'g>,
    ) -> Result<Self, TensorError> {
        let call = Call {
            inputs: &[self],
            row: &[],
            location: Some(location),
        };
        let [y] = call.results(|[x]| [build(x)])?;
        Ok(y)
    }

    fn with(
        &self,
        other: &Self,
        location: &'static Location<'static>,
        build: impl for<'g> FnOnce(Var<'g>, Var<'g>) -> Var<'g>,
    ) -> Result<Self, TensorError> {
        let call = Call {
            inputs: &[self, other],
            row: &[],
            location: Some(location),
        };
        let [y] = call.results(|[a, b]| [build(a, b)])?;
        Ok(y)
    }
}
