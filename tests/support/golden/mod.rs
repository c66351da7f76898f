//! Stored cases from an independent framework (`tests/golden`): graphs to evaluate and trainings
//! to repeat. Nothing here knows who computes them.

mod activations;
mod attention;
mod broadcast;
mod conv;
mod embedding;
mod file;
mod layer_norm;
mod losses;
mod network;
mod norm;
mod own;
mod own_index;
mod own_sequences;
mod recurrent;
mod reductions;
mod training;

use std::sync::Arc;

use gradus_graph::{Array, DType, Graph, Var, vjp};

use super::evaluator::{Evaluator, Fed};
pub(crate) use file::File;
pub(crate) use training::{Trained, Training, initial_values, names, trainings};

/// A function that builds a graph over the inputs of a case.
pub(crate) type Build = Box<dyn for<'g> Fn(&'g Graph, &[Var<'g>]) -> Vec<Var<'g>> + Send + Sync>;

/// A graph to evaluate, with the names of its expected values in the file.
pub(crate) struct Case {
    /// `file/part`.
    pub(crate) name: String,
    file: Arc<File>,
    inputs: Vec<Array>,
    wanted: Vec<String>,
    /// What the names of states begin with in the file, and end with.
    states: [&'static str; 2],
    build: Build,
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    [
        activations::cases(),
        attention::cases(),
        layer_norm::cases(),
        recurrent::cases(),
        broadcast::cases(),
        conv::cases(),
        embedding::cases(),
        reductions::cases(),
        losses::cases(),
        norm::cases(),
        own::cases(),
        own_index::cases(),
        own_sequences::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Case {
    fn new<F>(file: &Arc<File>, part: &str, inputs: &[&str], wanted: &[&str], build: F) -> Self
    where
        F: for<'g> Fn(&'g Graph, &[Var<'g>]) -> Vec<Var<'g>> + Send + Sync + 'static,
    {
        Self {
            name: format!("{}/{part}", file.name),
            file: Arc::clone(file),
            inputs: inputs.iter().map(|n| file.get(n)).collect(),
            wanted: wanted.iter().map(ToString::to_string).collect(),
            states: ["in.", ""],
            build: Box::new(build),
        }
    }

    /// The values of a parameter `weight` are `w.weight` in the file.
    fn leaves(&self, graph: &Graph) -> Fed {
        let mut fed = Fed::inputs(self.inputs.clone());
        let params = graph.params().into_iter();
        fed.params = params
            .map(|p| self.file.get(&self.file.parameter(&p.name)))
            .collect();
        let [before, after] = self.states;
        let states = graph
            .states()
            .into_iter()
            .map(|state| match state.meta.dtype {
                DType::F32 => self.file.get(&format!("{before}{}{after}", state.name)),
                other => Array::zeros(state.meta.shape, other),
            });
        fed.states = states.collect();
        fed
    }

    /// Builds the graph and compares what the evaluator finds with the file.
    pub(crate) fn check(&self, evaluator: &dyn Evaluator) -> Result<(), String> {
        let graph = Graph::new();
        let inputs: Vec<Var<'_>> = self
            .inputs
            .iter()
            .map(|x| graph.input("x", *x.shape(), x.dtype()))
            .collect();
        let outputs = (self.build)(&graph, &inputs);
        graph.check().map_err(|e| e.to_string())?;
        let fed = self.leaves(&graph);
        let found = evaluator.eval(&graph, &fed, &outputs)?;
        assert_eq!(found.values.len(), self.wanted.len());
        for (name, value) in self.wanted.iter().zip(&found.values) {
            self.file.check_within(name, value, evaluator.share())?;
        }
        Ok(())
    }
}

/// `y`, then its vector-Jacobian products with `dy`.
fn with_gradients<'g>(y: Var<'g>, dy: Var<'g>, wrt: &[Var<'g>]) -> Vec<Var<'g>> {
    let zeros = |x: &Var<'g>| x.graph().full(x.shape(), 0.0);
    let gradients = vjp(y, dy, wrt).into_iter().zip(wrt);
    let gradients = gradients.map(|(g, x)| g.unwrap_or_else(|| zeros(x)));
    std::iter::once(y).chain(gradients).collect()
}

/// The scalar 1, as a cotangent.
fn one(graph: &Graph) -> Var<'_> {
    graph.full((), 1.0)
}

const F32: DType = DType::F32;
