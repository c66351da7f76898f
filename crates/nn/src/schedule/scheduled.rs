//! An optimizer with a schedule.

use gradus_graph::{At, Layerwise, Optimizer, Rate, Shape, Update, Var, Whole};

use super::Schedule;
use crate::{Accumulate, Ema, Groups, Params, Undecayed};

/// An optimizer whose learning rate follows a schedule; see [`OptimizerExt::schedule`].
#[derive(Clone, Debug)]
pub struct Scheduled<O, S> {
    optimizer: O,
    schedule: S,
}

/// What every optimizer can be wrapped in.
pub trait OptimizerExt: Optimizer + Sized {
    /// This optimizer with a learning rate that follows `schedule`; its own is the base.
    ///
    /// ```
    /// use gradus_graph::{At, Optimizer};
    /// use gradus_nn::{Adam, Cosine, OptimizerExt, Warmup};
    ///
    /// let adam = Adam::new(3e-3).schedule(Warmup::steps(100).then(Cosine::steps(900)));
    /// assert_eq!(adam.rate(&At::step(100)).learning_rate, 3e-3);
    /// ```
    fn schedule<S: Schedule>(self, schedule: S) -> Scheduled<Self, S> {
        Scheduled {
            optimizer: self,
            schedule,
        }
    }

    /// This optimizer with an average of the parameters beside them, of this decay in [0, 1): a
    /// model is evaluated, asked and saved with it by `Model::averaged`.
    fn ema(self, decay: f64) -> Ema<Self> {
        Ema::new(self, decay)
    }

    /// This optimizer with the mean gradient of so many steps, > 0: one update for each round of
    /// them, which may go on into the next epoch. The last thing to say: `Adam::new(1e-3).schedule(…).accumulate(4)`.
    fn accumulate(self, steps: u32) -> Accumulate<Self> {
        Accumulate::new(self, steps)
    }

    /// This optimizer without weight decay of biases and of the scales of normalizations, which
    /// are vectors.
    fn no_decay_of_vectors(self) -> Groups
    where
        Self: Undecayed + Clone + 'static,
    {
        let undecayed = self.clone().undecayed();
        Groups::new(self).group(Params::vectors(), undecayed)
    }
}

impl<O: Optimizer> OptimizerExt for O {}

impl<O: Undecayed, S: Schedule> Undecayed for Scheduled<O, S> {
    fn undecayed(self) -> Self {
        Self {
            optimizer: self.optimizer.undecayed(),
            ..self
        }
    }
}

impl<O: Optimizer, S: Schedule> Optimizer for Scheduled<O, S> {
    fn states(&self) -> Vec<&'static str> {
        self.optimizer.states()
    }

    fn initial(&self, state: usize) -> f32 {
        self.optimizer.initial(state)
    }

    fn rate(&self, at: &At<'_>) -> Rate {
        self.schedule.rate(self.optimizer.rate(at), at)
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        self.schedule.observe(memory, loss);
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        self.optimizer.row(step, rate)
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        if let Some(message) = self.schedule.mistake() {
            param.graph().fail("schedule", message);
        }
        self.optimizer.update(param, grad, states)
    }

    fn layerwise(&self) -> Option<&dyn Layerwise> {
        self.optimizer.layerwise()
    }

    fn groups(&self) -> usize {
        self.optimizer.groups()
    }

    fn group(&self, name: &str, shape: &Shape) -> usize {
        self.optimizer.group(name, shape)
    }

    fn whole(&self, group: usize) -> Option<&dyn Whole> {
        self.optimizer.whole(group)
    }

    fn words_by(&self, at: &At<'_>, adjust: &dyn Fn(Rate) -> Rate) -> Vec<f32> {
        let both = |rate| adjust(self.schedule.rate(rate, at));
        self.optimizer.words_by(at, &both)
    }
}
