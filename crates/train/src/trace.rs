//! Tracing a network into graphs, and planning them.

use std::sync::Arc;

use gradus_graph::philox::Rng;
use gradus_graph::plan::{self, Plan, Request, SlabLayout};
use gradus_graph::{Graph, Init, ParamInfo, Scope, Shape, StateInfo, Var, grad};
use gradus_nn::Vars;

use crate::spec::Spec;
use crate::{Device, Error};

/// What a traced graph computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Loss, metrics, gradients, update.
    Train,
    /// Loss and metrics, as in use: no dropout.
    Evaluate,
    /// The outputs.
    Predict,
    /// Probabilities of classes.
    Probabilities,
    /// Classes.
    Classes,
}

/// A plan of a model: what for, for how many samples, and whether these are taken from the
/// resident data set.
pub(crate) type Key = (Purpose, usize, bool);

/// A traced graph's results.
#[derive(Debug)]
pub(crate) struct Traced<'g> {
    pub(crate) outputs: Vec<(String, Var<'g>)>,
    /// The loss, then the metrics.
    pub(crate) readbacks: Vec<(String, Var<'g>)>,
    /// For each parameter of the graph, if training.
    pub(crate) gradients: Vec<Var<'g>>,
    /// The shape of the prediction, batch included.
    pub(crate) prediction: Shape,
}

/// Parameters and states of the model, in the order in which training first uses them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaves {
    pub(crate) params: Vec<ParamInfo>,
    pub(crate) states: Vec<StateInfo>,
}

impl Purpose {
    /// The name of such a plan.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Evaluate => "evaluate",
            Self::Predict => "predict",
            Self::Probabilities => "predict_proba",
            Self::Classes => "predict_classes",
        }
    }
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
    fn declare(&self, graph: &Graph) {
        for param in &self.params {
            again(graph, param);
        }
        for state in &self.states {
            graph.state(&state.name, state.meta.shape, state.meta.dtype, state.init);
        }
    }
}

impl Spec {
    /// Traces the network into `graph`.
    pub(crate) fn trace<'g>(
        &self,
        graph: &'g Graph,
        leaves: &Leaves,
        purpose: Purpose,
        batch: usize,
    ) -> Result<Traced<'g>, Error> {
        leaves.declare(graph);
        let scope = Scope::root(graph, purpose == Purpose::Train);
        let inputs = self.inputs.iter().fold(Vars::new(), |vars, field| {
            vars.with(&field.name, field.declare(graph, batch))
        });
        let outputs = self.network.outputs(&scope, &inputs);
        let prediction = outputs
            .first()
            .unwrap_or_else(|| graph.fail("network", "expected an output, found none".to_owned()));
        let named = |name: &str, var: Option<Var<'g>>, what| match var {
            Some(var) => Ok(vec![(name.to_owned(), var)]),
            None => Err(self.no_classes(what)),
        };
        let mut traced = Traced {
            outputs: Vec::new(),
            readbacks: Vec::new(),
            gradients: Vec::new(),
            prediction: Shape::SCALAR,
        };
        match purpose {
            Purpose::Predict => {
                traced.outputs = outputs.iter().map(|(n, v)| (n.to_owned(), v)).collect();
            }
            Purpose::Probabilities => {
                let found = self.loss.probabilities(prediction);
                traced.outputs = named("probabilities", found, "probabilities")?;
            }
            Purpose::Classes => {
                let found = self.loss.classes(prediction);
                traced.outputs = named("classes", found, "classes")?;
            }
            Purpose::Train | Purpose::Evaluate => {
                let target = self.target.declare(graph, batch);
                let loss = self.loss.forward(&scope, prediction, target);
                traced.readbacks.push(("loss".to_owned(), loss));
                for metric in &self.metrics {
                    let value = metric.forward(&scope, &*self.loss, prediction, target);
                    traced.readbacks.push((metric.name().to_owned(), value));
                }
                if purpose == Purpose::Train {
                    traced.gradients = gradients(graph, loss);
                }
            }
        }
        graph.check()?;
        if !leaves.params.is_empty() {
            self.check_leaves(graph, leaves)?;
        }
        self.check_classes(self.classes, prediction.shape())?;
        traced.prediction = prediction.shape();
        Ok(traced)
    }

    /// A later graph must not have parameters or states that the first one, for training, does
    /// not know: they would have no place in memory.
    fn check_leaves(&self, graph: &Graph, leaves: &Leaves) -> Result<(), Error> {
        let (params, states) = (graph.params(), graph.states());
        let extra = params.get(leaves.params.len()).map(|p| &p.name);
        let extra = extra.or_else(|| states.get(leaves.states.len()).map(|s| &s.name));
        match extra {
            Some(name) => Err(Error::setting(format!(
                "`{name}` is not used in a training step of {} samples: ask for it there too",
                self.batch
            ))),
            None => Ok(()),
        }
    }

    fn no_classes(&self, what: &'static str) -> Error {
        Error::NotClasses {
            loss: format!("{:?}", self.loss),
            what,
        }
    }
}

/// The gradient of every parameter of the graph, in order.
fn gradients<'g>(graph: &'g Graph, loss: Var<'g>) -> Vec<Var<'g>> {
    let params: Vec<Var<'g>> = graph.params().iter().map(|p| again(graph, p)).collect();
    grad(loss, &params)
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

/// A plan, with what the first plan of a model decides for the later ones.
pub(crate) struct Lowered {
    pub(crate) plan: Arc<Plan>,
    pub(crate) leaves: Leaves,
    pub(crate) slabs: SlabLayout,
    /// The shape of the prediction, batch included.
    pub(crate) output: Shape,
}

/// Traces and plans. The first plan of a model, the one for training, decides which parameters
/// there are and where they lie.
pub(crate) fn lower(
    spec: &Spec,
    device: &Device,
    known: Option<(&Leaves, &SlabLayout)>,
    (purpose, samples, resident): Key,
) -> Result<Lowered, Error> {
    let target = device.target();
    let graph = Graph::new();
    let none = Leaves::default();
    let traced = spec.trace(&graph, known.map_or(&none, |k| k.0), purpose, samples)?;
    let (leaves, slabs) = match known {
        Some((leaves, slabs)) => (leaves.clone(), slabs.clone()),
        None => {
            let leaves = Leaves::of(&graph);
            if leaves.params.is_empty() {
                return Err(Error::setting("the network has no parameters to train"));
            }
            let slabs = SlabLayout::new(&leaves.params, &target)?;
            (leaves, slabs)
        }
    };
    let training = purpose == Purpose::Train;
    let mut plan = plan::lower(&Request {
        name: purpose.name(),
        graph: &graph,
        outputs: traced.outputs,
        readbacks: traced.readbacks,
        gradients: traced.gradients,
        optimizer: training.then_some(&*spec.optimizer),
        clip_norm: spec.clip_norm.filter(|_| training),
        resident: spec.resident.filter(|_| resident),
        slabs: slabs.clone(),
        target: &target,
    })?;
    if let Some(sabotage) = spec.sabotage {
        sabotage(&mut plan);
    }
    Ok(Lowered {
        plan: Arc::new(plan),
        leaves,
        slabs,
        output: traced.prediction,
    })
}
