//! Groups of parameters with optimizers of their own.

use std::sync::Arc;

use gradus_graph::{At, Group, Layerwise, Optimizer, Rate, Shape, Update, Var, Whole, step_row};

use super::{Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lion, Muon, NAdam, RAdam, RmsProp, Sgd};
use crate::Params;

/// One optimizer for some parameters, others for others: another learning rate, no weight decay,
/// another rule.
///
/// ```
/// use gradus_nn::{AdamW, Cosine, Groups, OptimizerExt, Params, params};
///
/// let adamw = AdamW::new(1e-3).weight_decay(0.1);
/// let groups = Groups::new(adamw.clone())
///     .group(params("head."), AdamW::new(1e-2))
///     .group(Params::vectors(), adamw.weight_decay(0.0))
///     .schedule(Cosine::steps(1000));
/// ```
///
/// A parameter belongs to the first group that selects it, and to the optimizer given at first if
/// none does. All groups together are updated by one kernel, as one optimizer would be. The states
/// are those of all of them; those of one name are shared.
///
/// A schedule around the groups adjusts the rate of each; one that watches a loss must be there,
/// and not within a group.
#[derive(Clone, Debug)]
pub struct Groups {
    rest: Arc<dyn Optimizer>,
    others: Vec<(Params, Arc<dyn Optimizer>)>,
}

/// Optimizers that let parameters decay.
pub trait Undecayed: Optimizer {
    /// The same without weight decay.
    #[must_use]
    fn undecayed(self) -> Self
    where
        Self: Sized;
}

macro_rules! undecayed {
    ($($name:ident),*) => {$(
        impl Undecayed for $name {
            fn undecayed(self) -> Self {
                self.weight_decay(0.0)
            }
        }
    )*};
}

undecayed!(
    Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lion, Muon, NAdam, RAdam, RmsProp, Sgd
);

impl Groups {
    /// This optimizer for all parameters that no group selects.
    pub fn new(rest: impl Optimizer + 'static) -> Self {
        Self {
            rest: Arc::new(rest),
            others: Vec::new(),
        }
    }

    /// This optimizer for these parameters, unless an earlier group selects them.
    #[must_use]
    pub fn group(mut self, params: Params, optimizer: impl Optimizer + 'static) -> Self {
        self.others.push((params, Arc::new(optimizer)));
        self
    }

    /// The rules, that of all other parameters first.
    fn rules(&self) -> impl Iterator<Item = &dyn Optimizer> {
        let others = self.others.iter().map(|(_, rule)| &**rule);
        std::iter::once(&*self.rest).chain(others)
    }

    /// Rules with what is theirs among the states, and with the first word of each.
    fn parts(&self) -> Vec<Part<'_>> {
        let states = self.states();
        let mut first = 0;
        let mut parts = Vec::new();
        for rule in self.rules() {
            let place = |name: &&str| states.iter().position(|s| s == name);
            parts.push(Part {
                rule,
                states: rule.states().iter().filter_map(place).collect(),
                first_word: first,
            });
            let words = rule.words(&At::step(0)).len();
            first += u32::try_from(words).unwrap_or(u32::MAX);
        }
        parts
    }

    fn check(&self, var: Var<'_>) {
        let fail = |message: String| {
            var.graph().fail("groups", message);
        };
        let room = step_row::WORDS - step_row::OPTIMIZER as usize;
        let words: usize = self.rules().map(|r| r.words(&At::step(0)).len()).sum();
        if words > room {
            fail(format!(
                "the rules of all groups need {words} numbers a step, but there is room for {room}"
            ));
        }
        if self.rules().any(|rule| rule.groups() > 1) {
            fail("a group cannot have groups of its own".to_owned());
        }
        for (i, name) in self.states().into_iter().enumerate() {
            for rule in self.rules() {
                let own = rule.states().iter().position(|s| *s == name);
                if own.is_some_and(|own| rule.initial(own) != self.initial(i)) {
                    fail(format!(
                        "the state `{name}` starts differently in two groups"
                    ));
                }
            }
        }
    }

    /// What each rule makes of all elements, and of these the one of each element's group.
    fn choose<'g>(
        &self,
        param: Var<'g>,
        states: &[Var<'g>],
        make: impl Fn(&Part<'_>, &[Var<'g>]) -> Update<'g>,
    ) -> Update<'g> {
        self.check(param);
        let graph = param.graph();
        let parts = self.parts();
        let of_part = |part: &Part<'_>| part.update(states, |own| make(part, own), param);
        let groups = match graph.group() {
            Group::One(group) => {
                let part = parts.get(group).or_else(|| parts.first());
                return match part {
                    Some(part) => graph.in_group(Group::One(0), || of_part(part)),
                    None => Update {
                        param,
                        states: states.to_vec(),
                    },
                };
            }
            Group::Each(groups) => groups,
        };
        let mut parts = (0u32..).zip(&parts).map(|(group, part)| {
            let update = graph.in_group(Group::One(0), || of_part(part));
            (group, update)
        });
        let (_, mut chosen) = match parts.next() {
            Some(first) => first,
            None => {
                return Update {
                    param,
                    states: states.to_vec(),
                };
            }
        };
        for (group, update) in parts {
            let here = groups.eq(group);
            let pick = |new: Var<'g>, old: Var<'g>| match new.id() == old.id() {
                true => old,
                false => here.select(new, old),
            };
            chosen.param = pick(update.param, chosen.param);
            let pairs = chosen.states.iter_mut().zip(update.states);
            pairs.for_each(|(old, new)| *old = pick(new, *old));
        }
        chosen
    }
}

/// A rule, and what is its own.
struct Part<'a> {
    rule: &'a dyn Optimizer,
    states: Vec<usize>,
    first_word: u32,
}

impl Part<'_> {
    fn own<'g>(&self, states: &[Var<'g>]) -> Vec<Var<'g>> {
        self.states
            .iter()
            .filter_map(|&i| states.get(i).copied())
            .collect()
    }

    /// An update of all states by one of its own; the others stay.
    fn update<'g>(
        &self,
        states: &[Var<'g>],
        make: impl FnOnce(&[Var<'g>]) -> Update<'g>,
        param: Var<'g>,
    ) -> Update<'g> {
        let own = self.own(states);
        let made = param.graph().at_words(self.first_word, || make(&own));
        let mut all = states.to_vec();
        for (&i, new) in self.states.iter().zip(made.states) {
            if let Some(state) = all.get_mut(i) {
                *state = new;
            }
        }
        Update {
            param: made.param,
            states: all,
        }
    }

    /// The pointwise part of the rule.
    fn pointwise<'g>(&self, param: Var<'g>, grad: Var<'g>, own: &[Var<'g>]) -> Update<'g> {
        match self.rule.whole(0) {
            Some(whole) => whole.before(param, grad, own),
            None => self.rule.update(param, grad, own),
        }
    }
}

impl Optimizer for Groups {
    fn states(&self) -> Vec<&'static str> {
        let mut all = Vec::new();
        for name in self.rules().flat_map(Optimizer::states) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    fn initial(&self, state: usize) -> f32 {
        let name = self.states().get(state).copied();
        let of_rule = |rule: &dyn Optimizer| {
            let own = rule.states().iter().position(|s| Some(*s) == name)?;
            Some(rule.initial(own))
        };
        self.rules().find_map(of_rule).unwrap_or(0.0)
    }

    /// That of the parameters that no group selects.
    fn rate(&self, at: &At<'_>) -> Rate {
        self.rest.rate(at)
    }

    fn row(&self, step: u32, rate: Rate) -> Vec<f32> {
        let base = self.rest.rate(&At::step(step)).learning_rate;
        let by = rate.learning_rate / base;
        self.words_by(&At::step(step), &|own| Rate {
            learning_rate: own.learning_rate * by,
            ..own
        })
    }

    fn words_by(&self, at: &At<'_>, adjust: &dyn Fn(Rate) -> Rate) -> Vec<f32> {
        // What is remembered belongs to a schedule around the groups.
        let own = At { memory: &[], ..*at };
        self.rules()
            .flat_map(|rule| rule.words_by(&own, adjust))
            .collect()
    }

    fn update<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        let one = matches!(param.graph().group(), Group::One(_));
        self.choose(param, states, |part, own| match one {
            true => part.rule.update(param, grad, own),
            false => part.pointwise(param, grad, own),
        })
    }

    fn layerwise(&self) -> Option<&dyn Layerwise> {
        self.rules()
            .any(|rule| rule.layerwise().is_some())
            .then_some(self)
    }

    fn groups(&self) -> usize {
        self.others.len() + 1
    }

    fn group(&self, name: &str, shape: &Shape) -> usize {
        let found = self
            .others
            .iter()
            .position(|(params, _)| params.select(name, shape));
        found.map_or(0, |i| i + 1)
    }

    fn whole(&self, group: usize) -> Option<&dyn Whole> {
        self.rules().nth(group)?.whole(0)?;
        Some(self)
    }
}

impl Groups {
    /// What the rule of the one group makes, in parts.
    fn one<'g, R>(&self, var: Var<'g>, make: impl FnOnce(&dyn Whole, &Part<'_>) -> R) -> Option<R> {
        let graph = var.graph();
        let Group::One(group) = graph.group() else {
            return None;
        };
        let parts = self.parts();
        let part = parts.get(group)?;
        let whole = part.rule.whole(0)?;
        Some(graph.at_words(part.first_word, || make(whole, part)))
    }
}

impl Whole for Groups {
    fn before<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Update<'g> {
        self.choose(param, states, |part, own| part.pointwise(param, grad, own))
    }

    fn direction<'g>(&self, grad: Var<'g>, states: &[Var<'g>]) -> Var<'g> {
        let made = self.one(grad, |whole, part| whole.direction(grad, &part.own(states)));
        made.unwrap_or(grad)
    }

    fn after<'g>(&self, param: Var<'g>, direction: Var<'g>) -> Var<'g> {
        let made = self.one(param, |whole, _| whole.after(param, direction));
        made.unwrap_or(param)
    }
}

/// Rules that measure nothing have a scale of 1.
impl Layerwise for Groups {
    fn measured<'g>(&self, param: Var<'g>, grad: Var<'g>, states: &[Var<'g>]) -> Vec<Var<'g>> {
        let graph = param.graph();
        let of_part = |part: &Part<'_>| {
            let rule = part.rule.layerwise()?;
            let own = part.own(states);
            Some(graph.at_words(part.first_word, || rule.measured(param, grad, &own)))
        };
        let parts = self.parts();
        let all: Vec<_> = parts.iter().map(of_part).collect();
        let mut counts = all.iter().flatten().map(Vec::len);
        let width = counts.next().unwrap_or(0);
        if counts.any(|n| n != width) {
            let message = "the rules of two groups measure different things";
            graph.fail("groups", message.to_owned());
        }
        let vector = |i: usize| {
            let of = |group: usize| all.get(group)?.as_ref()?.get(i).copied();
            choice(graph.group(), self.groups(), param, of)
        };
        (0..width).map(vector).collect()
    }

    fn scale<'g>(&self, norms: &[Var<'g>]) -> Option<Var<'g>> {
        let graph = norms.first()?.graph();
        let rules: Vec<&dyn Optimizer> = self.rules().collect();
        let scale = |group: usize| rules.get(group)?.layerwise()?.scale(norms);
        Some(choice(graph.group(), rules.len(), graph.scalar(1.0), scale))
    }

    fn update<'g>(
        &self,
        param: Var<'g>,
        grad: Var<'g>,
        states: &[Var<'g>],
        scale: Var<'g>,
    ) -> Update<'g> {
        self.choose(param, states, |part, own| match part.rule.layerwise() {
            Some(rule) => rule.update(param, grad, own, scale),
            None => part.pointwise(param, grad, own),
        })
    }
}

/// Of what groups have, what the group of each element has; `none` where that is nothing.
fn choice<'g>(
    group: Group<'g>,
    count: usize,
    none: Var<'g>,
    of: impl Fn(usize) -> Option<Var<'g>>,
) -> Var<'g> {
    let each = match group {
        Group::One(group) => return of(group).unwrap_or(none),
        Group::Each(each) => each,
    };
    (0u32..)
        .zip(0..count)
        .fold(none, |chosen, (number, group)| match of(group) {
            Some(var) => each.eq(number).select(var, chosen),
            None => chosen,
        })
}
