//! Whatever can evaluate a graph: the oracle in two precisions, an executor, a GPU.

use gradus_cpu::oracle::{self, BadIndex, Feeds, Float, Tensor};
use gradus_graph::backend::StepRow;
use gradus_graph::{Array, Graph, NodeId, Var};

/// The values of a graph's leaves.
#[derive(Clone, Debug)]
pub(crate) struct Fed {
    /// For each input of the graph.
    pub(crate) inputs: Vec<Array>,
    /// For each parameter of the graph.
    pub(crate) params: Vec<Array>,
    /// For each state of the graph.
    pub(crate) states: Vec<Array>,
    /// The step row.
    pub(crate) row: StepRow,
}

/// What an evaluator found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The wanted values.
    pub(crate) values: Vec<Array>,
    /// The bits of every index that failed a check, in the order of the checks.
    pub(crate) bad_indices: Vec<u32>,
}

/// Computes values of a graph from the values of its leaves.
pub(crate) trait Evaluator: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// The share of a value by which its functions may be wrong: GPUs approximate `exp` and `pow`.
    fn share(&self) -> f64 {
        0.0
    }

    /// The values of `wanted`.
    fn eval(&self, graph: &Graph, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String>;
}

impl Fed {
    /// These inputs; no parameters, no states, step 0 of seed 0.
    pub(crate) fn inputs(inputs: Vec<Array>) -> Self {
        Self {
            inputs,
            params: Vec::new(),
            states: Vec::new(),
            row: oracle::row(0, 0, &[]),
        }
    }

    /// For the oracle.
    pub(crate) fn feeds<T: Float>(&self) -> Feeds<T> {
        let tensors = |arrays: &[Array]| arrays.iter().map(Tensor::from_array).collect();
        Feeds {
            inputs: tensors(&self.inputs),
            params: tensors(&self.params),
            states: tensors(&self.states),
            row: self.row,
        }
    }
}

/// The values of `wanted` by the oracle, not rounded.
pub(crate) fn reference<T: Float>(
    graph: &Graph,
    fed: &Fed,
    wanted: &[Var<'_>],
) -> Result<(Vec<Tensor<T>>, Vec<BadIndex>), String> {
    let wanted: Vec<NodeId> = wanted.iter().map(Var::id).collect();
    let found = oracle::eval(&graph.nodes(), &fed.feeds(), &wanted).map_err(|e| e.to_string())?;
    Ok((found.values, found.bad_indices))
}

/// The oracle in `f64`.
pub(crate) struct Oracle64;

/// The oracle in `f32`.
pub(crate) struct Oracle32;

fn oracle<T: Float>(graph: &Graph, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String> {
    let (values, bad) = reference::<T>(graph, fed, wanted)?;
    Ok(Found {
        values: values.iter().map(Tensor::to_array).collect(),
        bad_indices: bad.iter().map(|b| b.bits).collect(),
    })
}

impl Evaluator for Oracle64 {
    fn name(&self) -> String {
        "oracle f64".into()
    }

    fn eval(&self, graph: &Graph, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String> {
        oracle::<f64>(graph, fed, wanted)
    }
}

impl Evaluator for Oracle32 {
    fn name(&self) -> String {
        "oracle f32".into()
    }

    fn eval(&self, graph: &Graph, fed: &Fed, wanted: &[Var<'_>]) -> Result<Found, String> {
        oracle::<f32>(graph, fed, wanted)
    }
}

/// The elements as `f64`; integers and truth values as numbers.
pub(crate) fn numbers(array: &Array) -> Vec<f64> {
    Tensor::<f64>::from_array(array).to_f64()
}
