//! A whole step against the reference on the original graph, before any pass.

use gradus_graph::backend::StepRow;
use gradus_graph::{Array, DType, Graph, NodeId, Optimizer, Shape, Var, update_of};

use super::bound::{Check, Reference, numbers};
use super::case::Case;
use crate::Error;

/// What a step on the device left behind.
pub(super) struct Outcome {
    /// Names and values of loss, metrics and outputs.
    pub(super) results: Vec<(String, Vec<f64>)>,
    /// The gradient of each parameter that is trained.
    pub(super) gradients: Vec<Array>,
    /// Each parameter after the step, then its optimizer states.
    pub(super) updated: Vec<Vec<Array>>,
}

/// What the step should leave behind, and from where it starts.
pub(super) struct Step<'a> {
    pub(super) case: &'a Case,
    /// Loss, metrics and outputs.
    pub(super) results: &'a [NodeId],
    pub(super) gradients: &'a [NodeId],
    pub(super) optimizer: &'a dyn Optimizer,
    pub(super) clip_norm: Option<f64>,
    /// The parameters that are trained.
    pub(super) names: &'a [String],
    /// Each of them before the step, then its optimizer states.
    pub(super) vectors: &'a [Vec<Array>],
    pub(super) row: &'a StepRow,
    pub(super) strict: bool,
}

impl Step<'_> {
    /// Loss and metrics, gradients, updated parameters and optimizer states.
    pub(super) fn check(&self, outcome: &Outcome) -> Result<[Vec<Check>; 3], Error> {
        let wanted: Vec<NodeId> = self.results.iter().chain(self.gradients).copied().collect();
        let exact = self.case.eval::<f64>(&wanted)?;
        let rounded = self.case.eval::<f32>(&wanted)?;
        let terms = self.case.terms();
        let references = exact
            .into_iter()
            .zip(rounded)
            .map(|(exact, rounded)| Reference {
                exact,
                rounded,
                terms,
            });
        let mut references: Vec<Reference> = references.collect();
        let judge = |name: &str, reference: &mut Reference, found: &[f64], node: NodeId| {
            self.case.judge(reference, name, found, self.strict, node)
        };
        let (of_scores, of_gradients) = references.split_at_mut(self.results.len());
        let mut scores = Vec::new();
        for (((name, values), reference), &node) in
            outcome.results.iter().zip(of_scores).zip(self.results)
        {
            scores.push(judge(name, reference, values, node)?);
        }
        let mut gradients = Vec::new();
        for (((name, found), reference), &node) in self
            .names
            .iter()
            .zip(&outcome.gradients)
            .zip(of_gradients.iter_mut())
            .zip(self.gradients)
        {
            let name = format!("gradient of {name}");
            let found = numbers(found);
            let check = judge(&name, reference, &found, node)?;
            // On the other side of a discontinuity another gradient is right, from which the
            // update follows.
            for &k in &check.near_at {
                reference.exact[k] = found[k];
                reference.rounded[k] = found[k];
            }
            gradients.push(check);
        }
        let mut updates = Vec::new();
        let clip = self.clip(of_gradients)?;
        for (i, reference) in of_gradients.iter().enumerate() {
            let found = outcome.updated.get(i).map_or(&[][..], Vec::as_slice);
            updates.extend(self.check_update(i, reference, clip, found)?);
        }
        Ok([scores, gradients, updates])
    }

    /// The factor that clipping scales gradients by.
    fn clip(&self, gradients: &[Reference]) -> Result<f64, Error> {
        let Some(most) = self.clip_norm.filter(|_| self.optimizer.clips()) else {
            return Ok(1.0);
        };
        let mut squares = 0.0;
        for (i, gradient) in gradients.iter().enumerate() {
            if let Some((param, states, rule)) = self.rule(i)? {
                let case = rule.case(param, &gradient.exact, states, 1.0)?;
                let taken = case.eval::<f64>(&[rule.taken])?;
                squares += taken.iter().flatten().map(|g| g * g).sum::<f64>();
            }
        }
        Ok((most / (squares.sqrt() + 1e-6)).min(1.0))
    }

    /// A parameter before the step, its states and its rule.
    fn rule(&self, i: usize) -> Result<Option<Ruled<'_>>, Error> {
        let Some([param, states @ ..]) = self.vectors.get(i).map(Vec::as_slice) else {
            return Ok(None);
        };
        let name = self.names.get(i).map_or("", String::as_str);
        let rule = Rule::new(self.optimizer, name, *param.shape(), self.row)?;
        Ok(Some((param, states, rule)))
    }

    /// The optimizer's update of one parameter, from the reference's gradient. A gradient may be
    /// off by its bound, and some optimizers make much of that (Adam divides by its root mean
    /// square): what they make of it is allowed too.
    fn check_update(
        &self,
        i: usize,
        gradient: &Reference,
        clip: f64,
        found: &[Array],
    ) -> Result<Vec<Check>, Error> {
        let Some((param, states, rule)) = self.rule(i)? else {
            return Ok(Vec::new());
        };
        let (optimizer, name) = (self.optimizer, self.names.get(i).map_or("", String::as_str));
        let largest = gradient.exact.iter().map(|g| g.abs()).fold(0.0, f64::max);
        let base = super::bound::rounding(gradient.terms) * largest;
        let scaled = |by: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let gradients = gradient.exact.iter().enumerate();
            gradients.map(|(k, g)| g + by(k)).collect()
        };
        let off = |k: usize| {
            let pair = gradient.exact.get(k).zip(gradient.rounded.get(k));
            base + 8.0 * pair.map_or(0.0, |(a, b)| (a - b).abs())
        };
        let case = |gradient: Vec<f64>| rule.case(param, &gradient, states, clip);
        let middle = case(scaled(&|_| 0.0))?;
        let exact = middle.eval::<f64>(&rule.outputs)?;
        let rounded = middle.eval::<f32>(&rule.outputs)?;
        let above = case(scaled(&|k| off(k)))?.eval::<f64>(&rule.outputs)?;
        let below = case(scaled(&|k| -off(k)))?.eval::<f64>(&rule.outputs)?;
        let names = std::iter::once("update").chain(optimizer.states());
        let mut checks = Vec::new();
        for (k, (what, found)) in names.zip(found).enumerate() {
            let get = |of: &[Vec<f64>]| of.get(k).cloned().unwrap_or_default();
            let (exact, mut rounded) = (get(&exact), get(&rounded));
            // The bound allows eight times this difference.
            for (j, r) in rounded.iter_mut().enumerate() {
                let e = exact.get(j).copied().unwrap_or_default();
                let reach = [&above, &below].map(|side| {
                    let value = side.get(k).and_then(|v| v.get(j)).copied();
                    value.map_or(0.0, |v| (v - e).abs())
                });
                *r = e + (*r - e).abs() + (reach[0] + reach[1]) / 8.0;
            }
            let reference = Reference {
                exact,
                rounded,
                terms: 1.0,
            };
            let name = format!("{what} of {name}");
            let found = numbers(found);
            checks.push(reference.judge(name, &found, self.strict, || Ok(Vec::new()))?);
        }
        Ok(checks)
    }
}

/// A parameter, its states and its rule.
type Ruled<'a> = (&'a Array, &'a [Array], Rule);

/// The optimizer's update as a graph over one parameter, its gradient and states.
struct Rule {
    case: Case,
    /// The gradient as the rule takes it, before clipping.
    taken: NodeId,
    outputs: Vec<NodeId>,
}

impl Rule {
    fn new(
        optimizer: &dyn Optimizer,
        name: &str,
        shape: Shape,
        row: &StepRow,
    ) -> Result<Self, Error> {
        let graph = Graph::new();
        let input = |name: &str| graph.input(name, shape, DType::F32);
        let (param, gradient) = (input("param"), input("gradient"));
        let states: Vec<Var<'_>> = optimizer.states().iter().map(|s| input(s)).collect();
        let clip = graph.input("clip", (), DType::F32);
        let taken = optimizer.gradient(gradient, &states);
        let update = update_of(optimizer, name, param, taken * clip, &states);
        graph.check()?;
        let outputs = std::iter::once(update.param).chain(update.states);
        Ok(Self {
            taken: taken.id(),
            outputs: outputs.map(|v| v.id()).collect(),
            case: Case {
                what: "the optimizer".to_owned(),
                nodes: graph.nodes(),
                inputs: Vec::new(),
                params: Vec::new(),
                states: Vec::new(),
                row: *row,
            },
        })
    }

    #[allow(clippy::cast_possible_truncation, reason = "host arrays are f32")]
    fn case(
        &self,
        param: &Array,
        gradient: &[f64],
        states: &[Array],
        clip: f64,
    ) -> Result<Case, Error> {
        let shape = *param.shape();
        let gradient: Vec<f32> = gradient.iter().map(|&g| g as f32).collect();
        let mut inputs = vec![param.clone(), Array::new(shape, gradient)?];
        for state in states {
            inputs.push(state.clone().reshape(shape)?);
        }
        inputs.push(Array::scalar(clip as f32));
        Ok(Case {
            inputs,
            ..self.case.clone()
        })
    }
}
