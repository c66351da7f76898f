//! Tracing steps into graphs, and planning them.

use std::sync::Arc;

use gradus_graph::philox::Rng;
use gradus_graph::plan::{self, Plan, Request, SlabLayout};
use gradus_graph::{
    Graph, Init, Optimizer, ParamInfo, Scope, Shape, StateInfo, Storage, Var, grad, vjp,
};
use gradus_nn::Vars;

use crate::spec::Spec;
use crate::step::{Definition, Results, Update};
use crate::{Device, Error};

/// A plan of a model: the number of the step, for how many samples, and whether these are taken
/// from the resident data set.
pub(crate) type Key = (usize, usize, bool);

/// The rule of a phase of an optimizer.
pub(crate) fn rule(optimizer: &dyn Optimizer, phase: usize) -> &dyn Optimizer {
    optimizer.phases().get(phase).copied().unwrap_or(optimizer)
}

/// The most complete of its phases.
pub(crate) fn last_phase(update: Option<&Update>) -> usize {
    update.map_or(0, |u| u.optimizer.phases().len().saturating_sub(1))
}

/// Parameters and states of the model, in the order in which its steps first use them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaves {
    pub(crate) params: Vec<ParamInfo>,
    pub(crate) states: Vec<StateInfo>,
}

impl Leaves {
    pub(crate) fn of(graph: &Graph) -> Self {
        Self {
            params: graph.params(),
            states: graph.states(),
        }
    }

    /// Declares all leaves in a new graph, so that they have the same numbers in every graph of
    /// a model, whatever part of it the graph uses.
    pub(crate) fn declare(&self, graph: &Graph) {
        for param in &self.params {
            again(graph, param);
        }
        for state in &self.states {
            graph.state(&state.name, state.meta.shape, state.meta.dtype, state.init);
        }
    }
}

/// What a step trains, and where its optimizer's states are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The numbers of the parameters, in order.
    pub(crate) trained: Vec<usize>,
    /// The number of the optimizer's first state vector.
    pub(crate) first_state: usize,
}

impl Definition {
    /// Traces the step into `graph`, after the `leaves` that the model has.
    pub(crate) fn trace<'g>(
        &self,
        graph: &'g Graph,
        leaves: &Leaves,
        batch: usize,
    ) -> Result<Results<'g>, Error> {
        leaves.declare(graph);
        let scope = Scope::root(graph, self.update.is_some());
        let inputs = self.fields.iter().fold(Vars::new(), |vars, field| {
            vars.with(&field.name, field.declare(graph, batch))
        });
        let results = self.body.trace(&scope, &inputs)?;
        graph.check()?;
        Ok(results)
    }

    /// The gradients of the loss for these parameters; zero where it does not depend on one.
    pub(crate) fn gradients<'g>(
        &self,
        graph: &'g Graph,
        results: &mut Results<'g>,
        trained: &[usize],
    ) -> Result<Vec<Var<'g>>, Error> {
        let forward = graph.node_count();
        let (Some(_), Some((_, loss))) = (&self.update, results.reports.first()) else {
            return Ok(Vec::new());
        };
        let params = graph.param_vars();
        let params = trained.iter().filter_map(|&i| params.get(i).copied());
        let mut gradients = grad(*loss, &params.collect::<Vec<_>>());
        graph.check()?;
        self.store(graph, forward, results, gradients.iter_mut());
        Ok(gradients)
    }

    /// Changes the graph so that weights, and what these gradients read of the first nodes, are
    /// stored as the step wants it.
    fn store<'g: 'v, 'v>(
        &self,
        graph: &'g Graph,
        forward: usize,
        results: &mut Results<'g>,
        gradients: impl Iterator<Item = &'v mut Var<'g>>,
    ) {
        let Some(update) = &self.update else {
            return;
        };
        let named = results.reports.iter_mut().chain(&mut results.outputs);
        let mut vars: Vec<&mut Var<'g>> = gradients.collect();
        let wanted: Vec<Var<'g>> = vars.iter().map(|var| **var).collect();
        vars.extend(named.map(|(_, var)| var));
        if update.storage == Storage::Bf16 {
            let now = graph.round_saved(forward, &wanted);
            vars.iter_mut().for_each(|var| **var = now(**var));
        }
        if update.weights == Storage::Bf16 {
            let now = graph.round_weights();
            vars.iter_mut().for_each(|var| **var = now(**var));
        }
    }

    /// The parameters that the step trains, with their gradients: those that are selected and
    /// that the loss depends on.
    fn trained<'g>(
        &self,
        graph: &'g Graph,
        results: &mut Results<'g>,
    ) -> Result<Vec<(usize, Var<'g>)>, Error> {
        let forward = graph.node_count();
        let (Some(update), Some((_, loss))) = (&self.update, results.reports.first()) else {
            return Ok(Vec::new());
        };
        // Refuses a loss that is no scalar.
        grad(*loss, &[]);
        graph.check()?;
        let params = graph.params();
        let gradients = vjp(*loss, graph.scalar(1.0), &graph.param_vars());
        graph.check()?;
        let reached = (0..).zip(&params).zip(gradients);
        let reached = reached.filter_map(|((i, param), dx)| Some((i, param, dx?)));
        let reached: Vec<_> = reached.collect();
        let selected = reached
            .iter()
            .filter(|(_, p, _)| update.params.select(&p.name, &p.shape));
        let mut trained: Vec<_> = selected.map(|&(i, _, dx)| (i, dx)).collect();
        if !trained.is_empty() {
            self.store(
                graph,
                forward,
                results,
                trained.iter_mut().map(|(_, dx)| dx),
            );
            return Ok(trained);
        }
        let names: Vec<&str> = reached.iter().map(|(_, p, _)| p.name.as_str()).collect();
        let found = match &names[..] {
            [] => "no parameter".to_owned(),
            names => format!("`{}`", names.join("`, `")),
        };
        Err(Error::setting(format!(
            "step `{}` has no parameters to train: it selects {}, and its loss depends on {found}",
            self.name, update.params
        )))
    }
}

/// The node of a parameter: a graph makes one however often it is asked.
fn again<'g>(graph: &'g Graph, param: &ParamInfo) -> Var<'g> {
    graph.param(&param.name, param.shape, Known(Arc::clone(&param.init)))
}

/// The initializer of a parameter that exists already.
#[derive(Debug)]
struct Known(Arc<dyn Init>);

impl Init for Known {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        self.0.sample(shape, rng)
    }
}

/// What the plans of a model share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) leaves: Leaves,
    pub(crate) slabs: SlabLayout,
}

/// The first plan of a step, which decides where things lie.
pub(crate) struct First {
    pub(crate) plan: Arc<Plan>,
    pub(crate) layout: Layout,
    pub(crate) place: Place,
    /// The shape of the prediction, batch included.
    pub(crate) prediction: Shape,
}

/// Traces and plans a step that is new. Parameters and states that no step before it uses get
/// places after the others. `first_state` says which numbers the states of an optimizer that
/// trains these parameters may have.
pub(crate) fn first(
    spec: &Spec,
    device: &Device,
    layout: &Layout,
    step: &Definition,
    resident: bool,
    first_state: impl Fn(&[usize]) -> usize,
) -> Result<First, Error> {
    let graph = Graph::new();
    let mut results = step.trace(&graph, &layout.leaves, spec.batch)?;
    let gradients = step.trained(&graph, &mut results)?;
    let trained: Vec<usize> = gradients.iter().map(|(i, _)| *i).collect();
    let leaves = Leaves::of(&graph);
    let known = layout.leaves.params.len();
    let new = leaves.params.get(known..).unwrap_or_default();
    let slabs = layout.slabs.clone();
    let slabs = slabs.extended(new, |i| trained.contains(&(known + i)), &device.target())?;
    let place = Place {
        first_state: first_state(&trained),
        trained,
    };
    let prediction = results.prediction;
    let request = (&graph, results, gradients);
    let places = (&slabs, place.first_state);
    let which = (resident, last_phase(step.update.as_ref()));
    let plan = lower(spec, device, step, request, places, which)?;
    Ok(First {
        plan,
        layout: Layout { leaves, slabs },
        place,
        prediction,
    })
}

/// Another plan of a step: for another number of samples, or to evaluate.
pub(crate) fn another(
    spec: &Spec,
    device: &Device,
    layout: &Layout,
    (step, place): (&Definition, &Place),
    (samples, resident, phase): (usize, bool, usize),
) -> Result<Arc<Plan>, Error> {
    let graph = Graph::new();
    let mut results = step.trace(&graph, &layout.leaves, samples)?;
    check_leaves(&graph, &layout.leaves, step, spec.batch)?;
    let gradients = step.gradients(&graph, &mut results, &place.trained)?;
    let gradients = place.trained.iter().copied().zip(gradients).collect();
    let request = (&graph, results, gradients);
    let places = (&layout.slabs, place.first_state);
    lower(spec, device, step, request, places, (resident, phase))
}

/// A later plan must not have parameters or states that the first one does not know: they would
/// have no place in memory.
fn check_leaves(
    graph: &Graph,
    leaves: &Leaves,
    step: &Definition,
    batch: usize,
) -> Result<(), Error> {
    let (params, states) = (graph.params(), graph.states());
    let extra = params.get(leaves.params.len()).map(|p| &p.name);
    let extra = extra.or_else(|| states.get(leaves.states.len()).map(|s| &s.name));
    match extra {
        Some(name) => Err(Error::setting(format!(
            "`{name}` of step `{}` is not used in a training step of {batch} samples: ask for it \
             there too",
            step.name
        ))),
        None => Ok(()),
    }
}

fn lower<'g>(
    spec: &Spec,
    device: &Device,
    step: &Definition,
    (graph, results, trained): (&'g Graph, Results<'g>, Vec<(usize, Var<'g>)>),
    (slabs, first_state): (&SlabLayout, usize),
    (resident, phase): (bool, usize),
) -> Result<Arc<Plan>, Error> {
    let target = device.target();
    let mut gradients = Vec::new();
    for (i, dx) in trained {
        gradients.resize(slabs.segments.len(), None);
        if let Some(slot) = gradients.get_mut(i) {
            *slot = Some(dx);
        }
    }
    let update = step.update.as_ref();
    let mut plan = plan::lower(&Request {
        outputs: results.outputs,
        readbacks: results.reports,
        gradients,
        optimizer: update.map(|u| rule(&*u.optimizer, phase)),
        clip_norm: update.and_then(|u| u.clip_norm),
        memory_limit: update.and_then(|u| u.memory_limit),
        first_state,
        resident: spec.resident.filter(|_| resident),
        ..Request::new(&step.name, graph, slabs.clone(), &target)
    })?;
    if let Some(sabotage) = spec.sabotage {
        sabotage(&mut plan);
    }
    Ok(Arc::new(plan))
}
