//! What an optimizer is to the planner.

use std::fmt::Debug;

use crate::Var;

/// A rule that turns gradients into updates: a pointwise expression over flat vectors.
///
/// It is traced once for a vector as long as a slab's shard, so that one dispatch updates every
/// parameter in it. Reductions are not allowed here.
pub trait Optimizer: Debug + Send + Sync {
    /// Names of the state vectors, each as long as the parameters and 0 at the start. They are
    /// names in checkpoints, so they follow PyTorch's (`exp_avg`, `momentum_buffer`).
    fn states(&self) -> &'static [&'static str];

    /// What the host writes into the step row from word [`crate::step_row::OPTIMIZER`] on for
    /// step `step`, counted from 0: the learning rate and factors that depend on the step.
    fn row(&self, step: u32) -> Vec<f32>;

    /// The new parameter and the new states. Words of [`Optimizer::row`] are read with
    /// [`crate::Graph::step_word`].
    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g>;
}

/// The result of [`Optimizer::update`].
#[derive(Clone, Debug)]
pub struct Update<'g> {
    /// The new parameter.
    pub param: Var<'g>,
    /// The new states, in order.
    pub states: Vec<Var<'g>>,
}
