//! What a model is made of, and how it is traced into graphs.

use std::sync::Arc;

use gradus_data::{Batch, Dataset};
use gradus_graph::backend::StepRow;
use gradus_graph::philox::Rng;
use gradus_graph::{
    Array, DType, Graph, Init, Optimizer, ParamInfo, Scope, Shape, StateInfo, Var, grad, step_row,
};
use gradus_nn::{Loss, Metric, Network, Vars};

use crate::compile::Sabotage;
use crate::{Error, Scores};

/// Everything that was set at `compile`.
pub(crate) struct Spec {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) inputs: Vec<Field>,
    pub(crate) target: Field,
    pub(crate) classes: Option<usize>,
    pub(crate) loss: Arc<dyn Loss>,
    pub(crate) metrics: Vec<Arc<dyn Metric>>,
    pub(crate) optimizer: Arc<dyn Optimizer>,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    pub(crate) clip_norm: Option<f64>,
    /// Samples of the data set that lies on the device, if one does.
    pub(crate) resident: Option<usize>,
    /// The batch that `verify` takes.
    pub(crate) sample: Batch,
    pub(crate) sabotage: Option<Sabotage>,
}

/// One array that the model takes: its name, and shape and dtype of one sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
    pub(crate) dtype: DType,
}

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

impl Field {
    pub(crate) fn new(name: &str, dims: Vec<usize>, dtype: DType) -> Self {
        Self {
            name: name.to_owned(),
            dims,
            dtype,
        }
    }

    /// The samples of an array `[N, …]`.
    pub(crate) fn of(name: &str, array: &Array) -> Self {
        let dims = array.shape().get(1..).unwrap_or_default().to_vec();
        Self::new(name, dims, array.dtype())
    }

    /// 32-bit words of one sample.
    pub(crate) fn words(&self) -> usize {
        self.dims.iter().product()
    }

    /// Refuses an array of other samples.
    pub(crate) fn check(&self, found: &Self) -> Result<(), Error> {
        if (&self.dims, self.dtype) == (&found.dims, found.dtype) {
            return Ok(());
        }
        Err(Error::Samples {
            name: self.name.clone(),
            expected: self.dims.clone(),
            expected_dtype: self.dtype,
            found: found.dims.clone(),
            found_dtype: found.dtype,
        })
    }

    fn declare<'g>(&self, graph: &'g Graph, batch: usize) -> Var<'g> {
        let dims: Vec<usize> = std::iter::once(batch).chain(self.dims.clone()).collect();
        graph.input(&self.name, dims, self.dtype)
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

/// The initializer of a parameter that exists already.
#[derive(Debug)]
struct Known(Arc<dyn Init>);

impl Init for Known {
    fn sample(&self, shape: &Shape, rng: &mut Rng) -> Vec<f32> {
        self.0.sample(shape, rng)
    }
}

impl Spec {
    /// The step row of a training step, without its place in the ring. `first` is the position
    /// of its batch in the order of the resident data set.
    pub(crate) fn row(&self, step: u32, first: u32) -> StepRow {
        let mut row = [0; step_row::WORDS];
        let fixed = [
            (step_row::STEP, step),
            (step_row::SEED_LOW, (self.seed & u64::from(u32::MAX)) as u32),
            (step_row::SEED_HIGH, (self.seed >> 32) as u32),
            (step_row::BATCH, first),
        ];
        let optimizer = self.optimizer.row(step).into_iter().map(f32::to_bits);
        for (at, word) in fixed
            .into_iter()
            .chain((step_row::OPTIMIZER..).zip(optimizer))
        {
            if let Some(slot) = row.get_mut(at as usize) {
                *slot = word;
            }
        }
        row
    }

    /// Names for what a step reported: the loss, then the metrics.
    pub(crate) fn scores(&self, values: &[f64], samples: usize) -> Scores {
        let metrics = self.metrics.iter().map(|m| m.name());
        let names = std::iter::once("loss").chain(metrics);
        Scores::new(names.zip(values.iter().copied()), samples)
    }

    /// Refuses a batch that a step for this purpose cannot take; gives its number of samples.
    pub(crate) fn check_batch(&self, batch: &Batch, purpose: Purpose) -> Result<usize, Error> {
        let samples = batch.len();
        for field in self.fields(purpose) {
            let array = batch.get(&field.name).ok_or_else(|| Error::Missing {
                name: field.name.clone(),
                found: batch.fields().map(|(n, _)| n.to_owned()).collect(),
            })?;
            field.check(&Field::of(&field.name, array))?;
            let found = array.shape().first().copied().unwrap_or_default();
            if found != samples {
                return Err(Error::Count {
                    name: field.name.clone(),
                    expected: samples,
                    found,
                });
            }
        }
        if samples == 0 {
            Err(Error::Empty)
        } else {
            Ok(samples)
        }
    }

    /// Refuses a data set that the model cannot take.
    pub(crate) fn check_data(&self, data: &Dataset) -> Result<(), Error> {
        for field in self.fields(Purpose::Evaluate) {
            let mut fields = data.fields();
            let found = fields.find_map(|(name, array)| (name == field.name).then_some(array));
            let array = found.ok_or_else(|| Error::Missing {
                name: field.name.clone(),
                found: data.fields().map(|(n, _)| n.to_owned()).collect(),
            })?;
            field.check(&Field::of(&field.name, array))?;
        }
        Ok(())
    }

    /// The words of every array that a step for this purpose takes, by name.
    pub(crate) fn words(&self, batch: &Batch, purpose: Purpose) -> Vec<(String, Vec<u32>)> {
        let taken = |name: &str| self.fields(purpose).any(|field| field.name == name);
        let fields = batch.fields().filter(|(name, _)| taken(name));
        fields
            .map(|(name, array)| (name.to_owned(), array.to_words()))
            .collect()
    }

    /// The fields that a step for this purpose takes, in the order of the graph's inputs.
    pub(crate) fn fields(&self, purpose: Purpose) -> impl Iterator<Item = &Field> {
        let target = match purpose {
            Purpose::Train | Purpose::Evaluate => Some(&self.target),
            _ => None,
        };
        self.inputs.iter().chain(target)
    }

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
        if purpose != Purpose::Train {
            self.check_leaves(graph, leaves)?;
        }
        self.check_classes(self.classes, prediction.shape())?;
        traced.prediction = prediction.shape();
        Ok(traced)
    }

    /// Labels must be classes of the output.
    pub(crate) fn check_classes(&self, classes: Option<usize>, output: Shape) -> Result<(), Error> {
        match (classes, self.loss.label_bound(&output)) {
            (Some(classes), Some(bound)) if classes > bound => Err(Error::Labels {
                classes,
                bound,
                output: output.to_vec(),
            }),
            _ => Ok(()),
        }
    }

    /// A graph made for use must not have parameters or states that training does not know:
    /// they would have no place in memory.
    fn check_leaves(&self, graph: &Graph, leaves: &Leaves) -> Result<(), Error> {
        let (params, states) = (graph.params(), graph.states());
        let extra = params.get(leaves.params.len()).map(|p| &p.name);
        let extra = extra.or_else(|| states.get(leaves.states.len()).map(|s| &s.name));
        match extra {
            Some(name) => Err(Error::setting(format!(
                "`{name}` is used outside of training only; ask for it while training too"
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
