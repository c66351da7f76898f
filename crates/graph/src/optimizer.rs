//! What an optimizer is to the planner, and to the host that runs its steps.

use std::fmt::Debug;

use crate::Var;

/// A rule that turns gradients into updates: a pointwise expression over flat vectors.
///
/// It is traced once for each run of parameters that lie side by side, so that one dispatch
/// updates all of them. Reductions are not allowed here.
pub trait Optimizer: Debug + Send + Sync {
    /// Names of the state vectors, each as long as the parameters. They are names in checkpoints,
    /// so they follow PyTorch's (`exp_avg`, `momentum_buffer`).
    fn states(&self) -> Vec<&'static str>;

    /// What the elements of the state vector of this number are before the first step.
    fn initial(&self, _state: usize) -> f32 {
        0.0
    }

    /// Learning rate and momentum of a step.
    fn rate(&self, at: &At<'_>) -> Rate;

    /// Takes the loss of an epoch into what [`At::memory`] gives back later.
    fn observe(&self, _memory: &mut Vec<f64>, _loss: f64) {}

    /// What the host writes into the step row from word [`crate::step_row::OPTIMIZER`] on for
    /// step `step`, counted from 0: the learning rate and factors that depend on the step.
    fn row(&self, step: u32, rate: Rate) -> Vec<f32>;

    /// The new parameter and the new states. Words of [`Optimizer::row`] are read with
    /// [`crate::Graph::step_word`].
    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g>;

    /// The words of [`Optimizer::row`] at its own [`Optimizer::rate`].
    fn words(&self, at: &At<'_>) -> Vec<f32> {
        self.row(at.step, self.rate(at))
    }
}

/// The result of [`Optimizer::update`].
#[derive(Clone, Debug)]
pub struct Update<'g> {
    /// The new parameter.
    pub param: Var<'g>,
    /// The new states, in order.
    pub states: Vec<Var<'g>>,
}

/// Where training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct At<'a> {
    /// Steps of this optimizer that are done.
    pub step: u32,
    /// Epochs that are done.
    pub epoch: u32,
    /// What [`Optimizer::observe`] noted; empty at first.
    pub memory: &'a [f64],
}

impl At<'_> {
    /// A step of the first epoch.
    pub const fn step(step: u32) -> Self {
        Self {
            step,
            epoch: 0,
            memory: &[],
        }
    }
}

/// How large a step is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The learning rate.
    pub learning_rate: f64,
    /// The share of the last update that is kept (β1 of Adam); 0 if there is no such thing.
    pub momentum: f64,
}
