//! What an optimizer is to the planner, and to the host that runs its steps.

use std::fmt::Debug;

use crate::Var;

/// The state that is an average of the parameters, to be used in their place.
pub const AVERAGE: &str = "ema";

/// A rule that turns gradients into updates: a pointwise expression over flat vectors.
///
/// It is traced once for each run of parameters that lie side by side, so that one dispatch
/// updates all of them. Reductions are not allowed here; [`Optimizer::layerwise`] is for rules
/// that need norms of parameters.
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

    /// The same rule in parts, if it depends on norms of whole parameters; [`Optimizer::update`]
    /// is then [`layerwise`] and used for one parameter at a time.
    fn layerwise(&self) -> Option<&dyn Layerwise> {
        None
    }

    /// The words of [`Optimizer::row`] at its own [`Optimizer::rate`].
    fn words(&self, at: &At<'_>) -> Vec<f32> {
        self.row(at.step, self.rate(at))
    }
}

/// A rule that sizes its steps by norms of whole parameters.
pub trait Layerwise {
    /// Pointwise vectors of which the norm over each parameter is needed; 0 where parameter,
    /// gradient and states are.
    fn measured<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Vec<Var<'g>>;

    /// What a parameter's step is multiplied with, given the norms; pointwise. `None` if that is
    /// another number of norms than are measured.
    fn scale<'g>(&self, norms: &[Var<'g>]) -> Option<Var<'g>>;

    /// The pointwise update, as [`Optimizer::update`].
    fn update<'g>(
        &self,
        param: Var<'g>,
        grad: Var<'g>,
        states: &[Var<'g>],
        scale: Var<'g>,
    ) -> Update<'g>;
}

/// The update of one parameter by a rule in parts.
pub fn layerwise<'g>(
    rule: &dyn Layerwise,
    param: Var<'g>,
    grad: Var<'g>,
    states: &[Var<'g>],
) -> Update<'g> {
    let measured = rule.measured(param, grad, states);
    let norms: Vec<Var<'g>> = measured
        .iter()
        .map(|x| x.square().sum_all().sqrt())
        .collect();
    let scale = rule.scale(&norms);
    let scale = scale.unwrap_or_else(|| param.graph().scalar(1.0));
    rule.update(param, grad, states, scale)
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
