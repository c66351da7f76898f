//! The op table: one row for each op and awkward shape. Every row is checked for its shape, its
//! gradient and its parity with the oracle on every executor, alone and in the middle of other
//! ops.

mod attention;
mod bf16;
mod checkpoint;
mod composite;
mod conv;
mod einsum;
mod elementwise;
mod embedding;
mod generate;
mod index_mistakes;
mod indexing;
mod layer_norm;
mod linear;
mod losses;
mod mistakes;
mod norm;
mod order;
mod pool;
mod reduce;
mod resize;
mod sequence_mistakes;
mod shape;
mod source;
mod statistics;
mod view;

use gradus_cpu::gradcheck;
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, DType, Graph, Var, step_row, vjp};

use super::evaluator::{Evaluator, Fed};
use super::golden::initial_values;
use super::parity;
pub(crate) use generate::Gen;
pub(crate) use mistakes::mistakes;

/// Builds the row's op on its inputs.
pub(crate) type Build = Box<dyn for<'g> Fn(&'g Graph, &[Var<'g>]) -> Var<'g> + Send + Sync>;

/// One row.
pub(crate) struct Row {
    /// The op, as it is named in messages and plans.
    pub(crate) op: &'static str,
    /// What is special about it.
    pub(crate) note: String,
    inputs: Vec<Gen>,
    build: Build,
    /// The number of terms that an element sums.
    pub(crate) terms: usize,
    /// Units in the last place by which the best device function may be wrong.
    pub(crate) ulps: f64,
    gradient: bool,
}

/// A row for `op` on these inputs.
pub(crate) fn row<F>(op: &'static str, inputs: impl Into<Vec<Gen>>, build: F) -> Row
where
    F: for<'g> Fn(&'g Graph, &[Var<'g>]) -> Var<'g> + Send + Sync + 'static,
{
    Row {
        op,
        note: String::new(),
        inputs: inputs.into(),
        build: Box::new(build),
        terms: 1,
        ulps: 0.0,
        gradient: true,
    }
}

/// Every row.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(elementwise::rows());
    rows.extend(view::rows());
    rows.extend(shape::rows());
    rows.extend(reduce::rows());
    rows.extend(statistics::rows());
    rows.extend(linear::rows());
    rows.extend(conv::rows());
    rows.extend(pool::rows());
    rows.extend(norm::rows());
    rows.extend(layer_norm::rows());
    rows.extend(resize::rows());
    rows.extend(indexing::rows());
    rows.extend(order::rows());
    rows.extend(einsum::rows());
    rows.extend(embedding::rows());
    rows.extend(source::rows());
    rows.extend(composite::rows());
    rows.extend(losses::rows());
    rows.extend(attention::rows());
    rows.extend(bf16::rows());
    rows.extend(checkpoint::rows());
    rows
}

/// A graph that a row makes, with values for its leaves.
pub(crate) struct Traced<'g> {
    pub(crate) fed: Fed,
    /// The result, then the gradients of the float inputs and of the parameters.
    pub(crate) wanted: Vec<Var<'g>>,
}

impl Row {
    /// What is special about this row.
    pub(crate) fn note(mut self, note: &str) -> Self {
        self.note = note.to_string();
        self
    }

    /// The number of terms that an element sums: rounding grows with its root.
    pub(crate) fn sums_over(mut self, terms: usize) -> Self {
        self.terms = terms.max(1);
        self
    }

    /// The accuracy that the shading language promises for the function, in units of the last
    /// place of the largest value.
    pub(crate) fn ulps(mut self, ulps: f64) -> Self {
        self.ulps = ulps;
        self
    }

    /// Has no gradient worth checking: integers, or a row that is only large.
    pub(crate) fn parity_only(mut self) -> Self {
        self.gradient = false;
        self
    }

    /// `op [3, 257] note`
    pub(crate) fn name(&self) -> String {
        let shapes: Vec<String> = self.inputs.iter().map(|i| i.shape().to_string()).collect();
        let name = format!("{} {} {}", self.op, shapes.join(" "), self.note);
        name.trim().to_string()
    }

    /// Values for the inputs: always the same.
    pub(crate) fn sample(&self) -> Vec<Array> {
        let mut rng = Rng::new(0, stream(&self.name(), 0));
        self.inputs.iter().map(|i| i.sample(&mut rng)).collect()
    }

    /// The op on its inputs and, where the row has them, its gradients for a random cotangent.
    /// In the middle of other ops, every float is multiplied by a 1 that is only known when the
    /// step runs, so that neighbours fuse but change no bit.
    pub(crate) fn trace<'g>(&self, graph: &'g Graph, middle: bool) -> Traced<'g> {
        let values = self.sample();
        let vars: Vec<Var<'g>> = values
            .iter()
            .map(|x| graph.input("x", *x.shape(), x.dtype()))
            .collect();
        let one = graph.step_word(step_row::OPTIMIZER);
        let wrap = |x: Var<'g>| {
            if middle && x.dtype() == DType::F32 {
                x * one
            } else {
                x
            }
        };
        let inputs: Vec<Var<'g>> = vars.iter().map(|&x| wrap(x)).collect();
        let y = wrap((self.build)(graph, &inputs));
        let mut fed = Fed::inputs(values);
        fed.params = initial_values(graph);
        fed.row[step_row::OPTIMIZER as usize] = 1f32.to_bits();
        let mut wanted = vec![y];
        if self.gradient && y.dtype() == DType::F32 {
            let mut rng = Rng::new(1, stream(&self.name(), 0));
            let dy = graph.input("dy", y.shape(), DType::F32);
            fed.inputs.push(Gen::normal(y.shape()).sample(&mut rng));
            let vars = [vars, graph.param_vars()].concat();
            wanted.extend(vjp(y, dy, &vars).into_iter().flatten());
        }
        Traced { fed, wanted }
    }

    /// Builds, and has the shape and dtype that the oracle's values have.
    pub(crate) fn check_shape(&self) -> Result<(), String> {
        let graph = Graph::new();
        let traced = self.trace(&graph, false);
        graph.check().map_err(|e| e.to_string())?;
        for evaluator in [
            &super::evaluator::Oracle64 as &dyn Evaluator,
            &super::evaluator::Oracle32,
        ] {
            let found = evaluator.eval(&graph, &traced.fed, &traced.wanted)?;
            for (value, var) in found.values.iter().zip(&traced.wanted) {
                if *value.shape() != var.shape() || value.dtype() != var.dtype() {
                    return Err(format!(
                        "{var:?} has a value {} {}",
                        value.dtype(),
                        value.shape()
                    ));
                }
            }
            if !found.bad_indices.is_empty() {
                return Err("the row feeds a bad index".into());
            }
        }
        Ok(())
    }

    /// True if the row has a gradient to check.
    pub(crate) fn has_gradient(&self) -> bool {
        self.gradient
    }

    /// The gradient rules against differences.
    pub(crate) fn check_gradient(&self) -> Result<(), String> {
        gradcheck(&self.sample(), &self.build).map_err(|e| e.to_string())
    }

    /// An evaluator against the oracle, alone and in the middle of other ops.
    pub(crate) fn check_parity(&self, evaluator: &dyn Evaluator) -> Result<(), String> {
        for middle in [false, true] {
            let graph = Graph::new();
            let traced = self.trace(&graph, middle);
            graph.check().map_err(|e| e.to_string())?;
            let bound = parity::Bound {
                terms: self.terms,
                ulps: self.ulps,
                at_least: 0.0,
            };
            let place = if middle { "in the middle" } else { "alone" };
            parity::check(evaluator, &graph, &traced.fed, &traced.wanted, bound)
                .map_err(|e| format!("{place}: {e}"))?;
        }
        Ok(())
    }
}
