//! Gradients of several steps that are used together.

use gradus_graph::{At, Group, Layerwise, Optimizer, Rate, Shape, Update, Var, Whole};

use super::{row, word};

/// An optimizer that updates once in several steps, with the mean of their gradients: what one
/// large batch would give where only small ones fit. See
/// [`OptimizerExt::accumulate`](crate::OptimizerExt::accumulate).
///
/// There are two plans over the same memory. In the first steps of a round, gradients are added
/// to a vector, `gradient_sum`, and nothing else changes; the last one takes the mean, clips it if
/// that was asked for, and updates. Schedules and bias corrections count updates.
#[derive(Clone, Debug)]
pub struct Accumulate<O> {
    collect: Collect,
    apply: Apply<O>,
}

impl<O: Optimizer> Accumulate<O> {
    pub(crate) fn new(optimizer: O, steps: u32) -> Self {
        Self {
            collect: Collect {
                states: with_sum(optimizer.states()),
                steps,
            },
            apply: Apply { optimizer, steps },
        }
    }

    /// When an update is counted.
    fn update_at<'a>(&self, at: &At<'a>) -> At<'a> {
        At {
            step: at.step / self.apply.steps.max(1),
            ..*at
        }
    }
}

impl<O: Optimizer> Optimizer for Accumulate<O> {
    fn states(&self) -> Vec<&'static str> {
        self.apply.states()
    }

    fn initial(&self, state: usize) -> f32 {
        self.apply.initial(state)
    }

    fn rate(&self, at: &At<'_>) -> Rate {
        self.apply.rate(&self.update_at(at))
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        self.apply.observe(memory, loss);
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        match self.phase(step) {
            0 => self.collect.row(step, rate),
            _ => self.apply.row(step / self.apply.steps.max(1), rate),
        }
    }

    fn words_by(&self, at: &At<'_>, adjust: &dyn Fn(Rate) -> Rate) -> Vec<f32> {
        match self.phase(at.step) {
            0 => self.collect.words_by(at, adjust),
            _ => self.apply.words_by(&self.update_at(at), adjust),
        }
    }

    fn update<'g>(&self, param: Var<'g>, _: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let message = "accumulation comes last: `.schedule(…).ema(…).accumulate(…)`";
        param.graph().fail("accumulate", message.to_owned());
        Update {
            param,
            states: states.to_vec(),
        }
    }

    fn updates(&self, steps: u32) -> u32 {
        steps / self.apply.steps.max(1)
    }

    fn phases(&self) -> Vec<&dyn Optimizer> {
        vec![&self.collect, &self.apply]
    }

    fn phase(&self, step: u32) -> usize {
        let steps = self.apply.steps.max(1);
        usize::from(step % steps == steps - 1)
    }
}

/// The states of an optimizer, and the sum.
fn with_sum(mut states: Vec<&'static str>) -> Vec<&'static str> {
    states.push("gradient_sum");
    states
}

/// Adds gradients up. The first of a round replaces the sum.
#[derive(Clone, Debug)]
struct Collect {
    states: Vec<&'static str>,
    steps: u32,
}

impl Optimizer for Collect {
    fn states(&self) -> Vec<&'static str> {
        self.states.clone()
    }

    fn rate(&self, _: &At<'_>) -> Rate {
        Rate {
            learning_rate: 0.0,
            momentum: 0.0,
        }
    }

    fn row(&self, step: u32, _: Rate) -> Vec<f32> {
        let first = step.is_multiple_of(self.steps.max(1));
        row(&[if first { 0.0 } else { 1.0 }])
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let mut states = states.to_vec();
        if let Some(sum) = states.last_mut() {
            *sum = word(param, 0).gt(0.0).select(*sum, 0.0) + grad;
        }
        Update { param, states }
    }

    fn clips(&self) -> bool {
        false
    }
}

/// Updates with the mean of a round.
#[derive(Clone, Debug)]
struct Apply<O> {
    optimizer: O,
    steps: u32,
}

impl<O: Optimizer> Apply<O> {
    /// An update of the states of the optimizer; the sum stays as it is.
    fn within<'g>(states: &[Var<'g>], update: impl FnOnce(&[Var<'g>]) -> Update<'g>) -> Update<'g> {
        let (own, sum) = own(states);
        let mut updated = update(own);
        updated.states.extend(sum);
        updated
    }
}

/// The states of the optimizer, and the sum.
fn own<'a, 'g>(states: &'a [Var<'g>]) -> (&'a [Var<'g>], Option<Var<'g>>) {
    match states.split_last() {
        Some((&sum, own)) => (own, Some(sum)),
        None => (states, None),
    }
}

impl<O: Optimizer> Optimizer for Apply<O> {
    fn states(&self) -> Vec<&'static str> {
        with_sum(self.optimizer.states())
    }

    fn initial(&self, state: usize) -> f32 {
        match state < self.optimizer.states().len() {
            true => self.optimizer.initial(state),
            false => 0.0,
        }
    }

    fn rate(&self, at: &At<'_>) -> Rate {
        self.optimizer.rate(at)
    }

    fn observe(&self, memory: &mut Vec<f64>, loss: f64) {
        self.optimizer.observe(memory, loss);
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        self.optimizer.row(step, rate)
    }

    fn words_by(&self, at: &At<'_>, adjust: &dyn Fn(Rate) -> Rate) -> Vec<f32> {
        self.optimizer.words_by(at, adjust)
    }

    fn gradient<'g>(&self, grad: Var<'g>, states: &[Var<'g>]) -> Var<'g> {
        let (own, sum) = own(states);
        let sum = sum.map_or(grad, |sum| sum + grad);
        let mean = sum * (1.0 / f64::from(self.steps.max(1)));
        self.optimizer.gradient(mean, own)
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        if self.steps == 0 {
            let message = "steps must be greater than 0, found 0";
            param.graph().fail("accumulate", message.to_owned());
        }
        if !self.optimizer.phases().is_empty() {
            let message = "gradients are accumulated twice";
            param.graph().fail("accumulate", message.to_owned());
        }
        Self::within(states, |own| self.optimizer.update(param, grad, own))
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

    fn whole(&self, group: usize) -> Option<&dyn Whole> {
        self.optimizer.whole(group).is_some().then_some(self)
    }
}

impl<O: Optimizer> Layerwise for Apply<O> {
    fn measured<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Vec<Var<'g>> {
        let inner = self.optimizer.layerwise();
        inner.map_or_else(Vec::new, |inner| inner.measured(param, grad, own(states).0))
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
        Self::within(states, |own| match self.optimizer.layerwise() {
            Some(inner) => inner.update(param, grad, own, scale),
            None => self.optimizer.update(param, grad, own),
        })
    }
}

impl<O: Optimizer> Apply<O> {
    /// The rule in parts of the group that the graph is built for.
    fn inner(&self, var: Var<'_>) -> Option<&dyn Whole> {
        match var.graph().group() {
            Group::One(group) => self.optimizer.whole(group),
            Group::Each(_) => None,
        }
    }
}

impl<O: Optimizer> Whole for Apply<O> {
    fn before<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        Self::within(states, |own| match self.inner(param) {
            Some(inner) => inner.before(param, grad, own),
            None => self.optimizer.update(param, grad, own),
        })
    }

    fn direction<'g>(&self, grad: Var<'g>, states: &[Var<'g>]) -> Var<'g> {
        let inner = self.inner(grad);
        inner.map_or(grad, |inner| inner.direction(grad, own(states).0))
    }

    fn after<'g>(&self, param: Var<'g>, direction: Var<'g>) -> Var<'g> {
        let inner = self.inner(param);
        inner.map_or(param, |inner| inner.after(param, direction))
    }
}
