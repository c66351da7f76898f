//! What an optimizer is to the planner, and to the host that runs its steps.

use std::fmt::Debug;

use crate::step_row;
use crate::{Graph, NodeId, Shape, Var};

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

    /// How many groups of parameters there are, each with a rule of its own.
    fn groups(&self) -> usize {
        1
    }

    /// The group of a parameter, below [`Optimizer::groups`]. [`Optimizer::update`] finds it in
    /// [`Graph::group`].
    fn group(&self, _name: &str, _shape: &Shape) -> usize {
        0
    }

    /// The rule of a group in parts, if it is no pointwise expression; [`Optimizer::update`] is
    /// then [`whole`] and used for one parameter at a time, in its own shape.
    fn whole(&self, _group: usize) -> Option<&dyn Whole> {
        None
    }

    /// The rules of the plans that take turns, the most complete one last; none if every step has
    /// the same. All have the states of this optimizer, and words for their own steps.
    fn phases(&self) -> Vec<&dyn Optimizer> {
        Vec::new()
    }

    /// Whose turn a step is, below the number of [`Optimizer::phases`].
    fn phase(&self, _step: u32) -> usize {
        0
    }

    /// Updates that are made in so many steps.
    fn updates(&self, steps: u32) -> u32 {
        steps
    }

    /// What the rule takes for the gradient, before it is clipped; pointwise.
    fn gradient<'g>(&self, grad: Var<'g>, _states: &[Var<'g>]) -> Var<'g> {
        grad
    }

    /// True if the gradient is to be clipped where that was asked for.
    fn clips(&self) -> bool {
        true
    }

    /// The words of [`Optimizer::row`] at its own [`Optimizer::rate`].
    fn words(&self, at: &At<'_>) -> Vec<f32> {
        self.words_by(at, &|rate| rate)
    }

    /// The same at rates that are made of those of its own, of each group if there are several.
    fn words_by(&self, at: &At<'_>, adjust: &dyn Fn(Rate) -> Rate) -> Vec<f32> {
        self.row(at.step, adjust(self.rate(at)))
    }
}

/// A rule that makes of the gradient of a whole parameter, in its shape, a direction to step in:
/// by products of matrices, say.
pub trait Whole {
    /// What is pointwise before: new states, and the parameter as it is or shrunk.
    fn before<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g>;

    /// The direction, given the gradient and the new states in the shape of the parameter.
    fn direction<'g>(&self, grad: Var<'g>, states: &[Var<'g>]) -> Var<'g>;

    /// The new parameter, pointwise.
    fn after<'g>(&self, param: Var<'g>, direction: Var<'g>) -> Var<'g>;
}

/// The update of one parameter, in its shape, by a rule in parts.
pub fn whole<'g>(
    rule: &dyn Whole,
    param: Var<'g>,
    grad: Var<'g>,
    states: &[Var<'g>],
) -> Update<'g> {
    let Update { param, states } = rule.before(param, grad, states);
    let direction = rule.direction(grad, &states);
    Update {
        param: rule.after(param, direction),
        states,
    }
}

/// The update of the parameter of this name, in its shape.
pub fn update_of<'g>(
    optimizer: &dyn Optimizer,
    name: &str,
    param: Var<'g>,
    grad: Var<'g>,
    states: &[Var<'g>],
) -> Update<'g> {
    let group = Group::One(optimizer.group(name, &param.shape()));
    let graph = param.graph();
    graph.in_group(group, || optimizer.update(param, grad, states))
}

/// The group of what an optimizer updates.
#[derive(Clone, Copy, Debug)]
pub enum Group<'g> {
    /// One for all elements.
    One(usize),
    /// One for each element, `u32`.
    Each(Var<'g>),
}

/// Whose update a graph is being built for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleOf {
    group: usize,
    groups: Option<NodeId>,
    first_word: u32,
}

impl RuleOf {
    /// Words of the optimizer begin where those of the rule do.
    pub(crate) const fn word(self, word: u32) -> u32 {
        if word < step_row::OPTIMIZER {
            return word;
        }
        word + self.first_word
    }
}

impl Graph {
    /// The group of what [`Optimizer::update`] is called for.
    pub fn group(&self) -> Group<'_> {
        let rule = self.inner.borrow().rule;
        match rule.groups {
            Some(id) => Group::Each(self.var(id)),
            None => Group::One(rule.group),
        }
    }

    /// What `build` gives when it finds this group in [`Graph::group`].
    pub fn in_group<'g, R>(&'g self, group: Group<'g>, build: impl FnOnce() -> R) -> R {
        let before = self.inner.borrow().rule;
        let (group, groups) = match group {
            Group::One(group) => (group, None),
            Group::Each(var) => (0, Some(var.id())),
        };
        self.with_rule(
            before,
            RuleOf {
                group,
                groups,
                ..before
            },
            build,
        )
    }

    /// What `build` gives when the words of its row begin at this word of the optimizer's.
    pub fn at_words<R>(&self, first: u32, build: impl FnOnce() -> R) -> R {
        let before = self.inner.borrow().rule;
        let first_word = before.first_word + first;
        self.with_rule(
            before,
            RuleOf {
                first_word,
                ..before
            },
            build,
        )
    }

    fn with_rule<R>(&self, before: RuleOf, rule: RuleOf, build: impl FnOnce() -> R) -> R {
        self.inner.borrow_mut().rule = rule;
        let built = build();
        self.inner.borrow_mut().rule = before;
        built
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
