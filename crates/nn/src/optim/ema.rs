//! An average of the parameters beside them.

use gradus_graph::{AVERAGE, At, Layerwise, Optimizer, Rate, Shape, Update, Var};

use super::{Expected, check, row, word};

/// An optimizer that keeps an exponential moving average of the parameters; see
/// [`OptimizerExt::ema`](crate::OptimizerExt::ema).
///
/// ```text
/// a ← p                             after the first step
/// a ← decay · a + (1 − decay) · p   after later ones
/// ```
///
/// One more state, `ema` (a), in the same kernel.
/// Source: Polyak & Juditsky (1992); as PyTorch's `AveragedModel` with `get_ema_avg_fn`.
#[derive(Clone, Debug)]
pub struct Ema<O> {
    optimizer: O,
    decay: f64,
}

impl<O: Optimizer> Ema<O> {
    pub(crate) const fn new(optimizer: O, decay: f64) -> Self {
        Self { optimizer, decay }
    }

    /// The words of the wrapped optimizer come first.
    fn words_before(&self) -> u32 {
        let row = self.optimizer.words(&At::step(0));
        u32::try_from(row.len()).unwrap_or(u32::MAX)
    }

    /// What is kept of the average, and what is taken of the parameter.
    fn factors(&self, step: u32) -> Vec<f32> {
        let keep = if step == 0 { 0.0 } else { self.decay };
        row(&[keep, 1.0 - keep])
    }

    /// Adds the average to an update that was made of the states before it.
    fn average<'g>(
        &self,
        states: &[Var<'g>],
        update: impl FnOnce(&[Var<'g>]) -> Option<Update<'g>>,
        param: Var<'g>,
    ) -> Update<'g> {
        check(param, "ema", "decay", self.decay, Expected::Share);
        if (0..self.optimizer.groups()).any(|g| self.optimizer.whole(g).is_some()) {
            let message = "cannot average parameters that are updated as whole matrices";
            param.graph().fail("ema", message.to_owned());
        }
        let updated = states.split_last().and_then(|(average, before)| {
            let mut updated = update(before)?;
            let at = self.words_before();
            let average = *average * word(param, at) + updated.param * word(param, at + 1);
            updated.states.push(average);
            Some(updated)
        });
        updated.unwrap_or_else(|| {
            let message = "expected the average among the states".to_owned();
            param.graph().fail("ema", message);
            Update {
                param,
                states: states.to_vec(),
            }
        })
    }
}

impl<O: Optimizer> Optimizer for Ema<O> {
    fn states(&self) -> Vec<&'static str> {
        let mut states = self.optimizer.states();
        states.push(AVERAGE);
        states
    }

    fn initial(&self, state: usize) -> f32 {
        if state < self.optimizer.states().len() {
            self.optimizer.initial(state)
        } else {
            0.0
        }
    }

    fn rate(&self, at: &At<'_>) -> Rate {
        self.optimizer.rate(at)
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        self.optimizer.observe(memory, loss);
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let mut words = self.optimizer.row(step, rate);
        words.extend(self.factors(step));
        words
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let update = |before: &[Var<'g>]| Some(self.optimizer.update(param, grad, before));
        self.average(states, update, param)
    }

    fn layerwise(&self) -> Option<&dyn Layerwise> {
        self.optimizer.layerwise().is_some().then_some(self)
    }

    fn groups(&self) -> usize {
        self.optimizer.groups()
    }

    fn group(&self, name: &str, shape: &Shape) -> usize {
        self.optimizer.group(name, shape)
    }

    fn words_by(&self, at: &At<'_>, adjust: &dyn Fn(Rate) -> Rate) -> Vec<f32> {
        let mut words = self.optimizer.words_by(at, adjust);
        words.extend(self.factors(at.step));
        words
    }
}

impl<O: Optimizer> Layerwise for Ema<O> {
    fn measured<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Vec<Var<'g>> {
        let before = states.split_last().map_or(states, |(_, before)| before);
        let inner = self.optimizer.layerwise();
        inner.map_or_else(Vec::new, |inner| inner.measured(param, grad, before))
    }

    fn scale<'g>(&self, norms: &[Var<'g>]) -> Option<Var<'g>> {
        self.optimizer.layerwise()?.scale(norms)
    }

    fn update<'g>(
        &self,
        param: Var<'g>,
        grad: Var<'g>,
        states: &[Var<'g>],
        scale: Var<'g>,
    ) -> Update<'g> {
        let update = |before: &[Var<'g>]| {
            let inner = self.optimizer.layerwise()?;
            Some(inner.update(param, grad, before, scale))
        };
        self.average(states, update, param)
    }
}
