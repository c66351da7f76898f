//! Gradient rules against central differences of the loss.
//!
//! The device and the reference share the rules, so they would share a wrong one. The difference
//! `(L(θ + h·v) − L(θ − h·v)) / 2h` along a random direction `v`, computed in f64, knows no
//! rules; `⟨∇L, v⟩` must agree. If it does not, the same is done for the result of every layer,
//! from the loss backwards: the first that disagrees was given a wrong gradient by an op that
//! reads it.

use std::ops::Range;

use gradus_cpu::oracle::{Feeds, Tensor};
use gradus_graph::ops::{Binary, Op, Unary};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, Graph, Node, NodeId, Var, grad};
use serde::Serialize;

use super::case::{Case, push};
use crate::Error;

/// Steps of the difference: truncation grows as h², rounding and kinks make small ones useless.
const STEPS: [f64; 4] = [1e-5, 1e-6, 1e-4, 1e-7];
/// Random directions tried; a kink between the two sides spoils one of them.
const DIRECTIONS: u32 = 3;
/// Up to so many parameters are moved one at a time, more all together.
const ALONE: usize = 64;
/// How far parameters are moved away from kinks: far beyond the steps.
const ASIDE: f32 = 1e-3;
/// Largest relative difference.
const TOLERANCE: f64 = 1e-5;

/// What was found about the gradient rules.
#[derive(Clone, Debug, Serialize)]
pub struct Rules {
    /// The relative difference between the gradient and central differences, in f64.
    pub difference: f64,
    /// The largest that passes.
    pub allowed: f64,
    /// The op whose rule is wrong, with its layer.
    pub wrong: Option<String>,
}

impl Rules {
    /// Nothing found yet.
    pub(super) const fn new() -> Self {
        Self {
            difference: 0.0,
            allowed: TOLERANCE,
            wrong: None,
        }
    }

    /// Adds what was found about another step.
    pub(super) fn add(&mut self, other: Self) {
        self.difference = self.difference.max(other.difference);
        self.wrong = self.wrong.take().or(other.wrong);
    }

    /// True if gradients agree with differences.
    pub const fn passed(&self) -> bool {
        self.wrong.is_none()
    }
}

/// Checks the rules that a step uses. `case` holds the nodes of `graph`; the parameters of these
/// numbers have these gradients.
pub(super) fn check(
    graph: &Graph,
    case: &Case,
    loss: NodeId,
    (trained, gradients): (&[usize], &[NodeId]),
) -> Result<Rules, Error> {
    let case = &smooth(&nearby(case));
    let forward = Forward::new(case, loss)?;
    let gradients = case.eval::<f64>(gradients)?;
    // One parameter at a time, so that a large gradient hides no small one.
    let params = trained.len();
    let together = if params <= ALONE { 1 } else { params };
    let groups = (0..params)
        .step_by(together)
        .map(|first| first..first + together);
    let mut difference = 0.0f64;
    for group in groups {
        difference = difference.max(forward.along_params((trained, &gradients), &group, loss)?);
    }
    let wrong = if difference <= TOLERANCE {
        None
    } else {
        Some(forward.culprit(graph, case, loss)?)
    };
    Ok(Rules {
        difference,
        allowed: TOLERANCE,
        wrong,
    })
}

/// The case with every parameter moved a little, up or down at random: first parameters lie on
/// kinks, as a bias of 0 does behind pixels of 0 and before a ReLU, and a rule that is right holds
/// beside them too.
fn nearby(case: &Case) -> Case {
    let mut rng = Rng::new(0, stream("verify.nearby", 0));
    let mut step = || if rng.below(2) == 0 { ASIDE } else { -ASIDE };
    let mut moved = |param: &Array| {
        let values = param.as_f32()?.iter().map(|x| x + step());
        Array::new(*param.shape(), values.collect::<Vec<f32>>())
    };
    let params = case.params.iter();
    let params = params.map(|p| moved(p).unwrap_or_else(|_| p.clone()));
    Case {
        params: params.collect(),
        ..case.clone()
    }
}

/// The case with nothing rounded for storage: gradients pass over the steps that differences see.
fn smooth(case: &Case) -> Case {
    let nodes = case.nodes.iter().cloned();
    Case {
        nodes: nodes.map(unrounded).collect(),
        ..case.clone()
    }
}

fn unrounded(node: Node) -> Node {
    match node.op {
        Op::Unary(Unary::Bf16) => Node {
            op: Op::Cast(node.meta.dtype),
            ..node
        },
        _ => node,
    }
}

/// The part of a graph that computes the loss. What lies behind `stop_gradient` is held fixed,
/// as gradients take it to be.
struct Forward<'a> {
    case: &'a Case,
    nodes: Vec<Node>,
    feeds: Feeds<f64>,
}

/// `⟨∇L, v⟩`, and the size that it would have if its terms did not cancel.
#[derive(Clone, Copy)]
struct Slope {
    value: f64,
    scale: f64,
}

impl<'a> Forward<'a> {
    fn new(case: &'a Case, loss: NodeId) -> Result<Self, Error> {
        let mut nodes: Vec<Node> = case.nodes.iter().take(loss.index() + 1).cloned().collect();
        let mut feeds = case.feeds::<f64>();
        let stops = |n: &Node| matches!(n.op, Op::StopGradient);
        let fixed: Vec<NodeId> = (0u32..)
            .zip(&nodes)
            .filter_map(|(i, n)| stops(n).then_some(NodeId(i)))
            .collect();
        let values = case.tensors(&nodes, &feeds, &fixed)?;
        for (id, value) in fixed.iter().zip(values) {
            if let Some(node) = nodes.get_mut(id.index()) {
                node.op = Op::Input(u32::try_from(feeds.inputs.len()).unwrap_or(u32::MAX));
                node.inputs.clear();
                feeds.inputs.push(value);
            }
        }
        Ok(Self { case, nodes, feeds })
    }

    /// The relative difference along some of the parameters.
    fn along_params(
        &self,
        (trained, gradients): (&[usize], &[Vec<f64>]),
        group: &Range<usize>,
        loss: NodeId,
    ) -> Result<f64, Error> {
        let trained = trained.get(group.clone()).unwrap_or_default();
        let gradients = gradients.get(group.clone()).unwrap_or_default();
        self.best(|rng| {
            let directions = gradients.iter().map(|g| direction(rng, g.len()));
            let directions: Vec<Vec<f64>> = directions.collect();
            let slope = slope(gradients, &directions);
            let along = move |h: f64| {
                let mut feeds = self.feeds.clone();
                for (&i, v) in trained.iter().zip(&directions) {
                    if let Some(param) = feeds.params.get_mut(i) {
                        *param = shifted(param, v, h);
                    }
                }
                self.loss(&self.nodes, &feeds, loss)
            };
            (slope, along)
        })
    }

    fn loss(&self, nodes: &[Node], feeds: &Feeds<f64>, loss: NodeId) -> Result<f64, Error> {
        let values = self.case.tensors(nodes, feeds, &[loss])?;
        let first = values.first().map(Tensor::to_f64).unwrap_or_default();
        Ok(first.first().copied().unwrap_or(f64::NAN))
    }

    /// The smallest relative difference over directions and steps: a wrong rule is wrong for
    /// all of them. `setup` makes a direction: the slope along it, and the loss at a distance.
    fn best<F>(&self, setup: impl Fn(&mut Rng) -> (Slope, F)) -> Result<f64, Error>
    where
        F: Fn(f64) -> Result<f64, Error>,
    {
        let mut best = f64::INFINITY;
        for i in 0..DIRECTIONS {
            let (slope, along) = setup(&mut Rng::new(0, stream("verify.direction", i)));
            for h in STEPS {
                let difference = (along(h)? - along(-h)?) / (2.0 * h);
                let scale = slope.scale.max(difference.abs()).max(1e-6);
                best = best.min((difference - slope.value).abs() / scale);
                if best <= TOLERANCE {
                    return Ok(best);
                }
            }
        }
        Ok(best)
    }

    /// The op whose rule is wrong.
    fn culprit(&self, graph: &Graph, case: &Case, loss: NodeId) -> Result<String, Error> {
        let floats: Vec<NodeId> = (0u32..)
            .zip(&self.nodes)
            .filter(|(_, n)| n.meta.dtype.is_float() && !matches!(n.op, Op::Const(_)))
            .map(|(i, _)| NodeId(i))
            .collect();
        let vars: Vec<Var<'_>> = floats.iter().map(|&id| graph.var(id)).collect();
        let gradients = grad(graph.var(loss), &vars);
        let wanted: Vec<NodeId> = gradients.iter().map(Var::id).collect();
        let nodes: Vec<Node> = graph.nodes().into_iter().map(unrounded).collect();
        let values = case.tensors(&nodes, &case.feeds::<f64>(), &wanted)?;
        for (&id, gradient) in floats.iter().zip(&values).rev() {
            let gradient = [gradient.to_f64()];
            let difference = self.best(|rng| {
                let v = direction(rng, gradient[0].len());
                let slope = slope(&gradient, std::slice::from_ref(&v));
                let along = move |h: f64| {
                    let (nodes, feeds, loss) = self.moved(id, &v, h, loss);
                    self.loss(&nodes, &feeds, loss)
                };
                (slope, along)
            })?;
            if difference > TOLERANCE {
                return Ok(self.readers(graph, id));
            }
        }
        Ok("an op that could not be found".to_owned())
    }

    /// The graph with `h·v` added to the result of one node.
    fn moved(
        &self,
        id: NodeId,
        v: &[f64],
        h: f64,
        loss: NodeId,
    ) -> (Vec<Node>, Feeds<f64>, NodeId) {
        let mut feeds = self.feeds.clone();
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len() + 2);
        let mut at: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs = node
                .inputs
                .iter()
                .filter_map(|x| at.get(x.index()).copied());
            let mut new = push(&mut nodes, node.op.clone(), inputs.collect(), node);
            if i == id.index() {
                let number = u32::try_from(feeds.inputs.len()).unwrap_or(u32::MAX);
                let by: Vec<f64> = v.iter().map(|v| v * h).collect();
                feeds.inputs.extend(Tensor::float(node.meta.shape, by));
                let by = push(&mut nodes, Op::Input(number), Vec::new(), node);
                new = push(&mut nodes, Op::Binary(Binary::Add), vec![new, by], node);
            }
            at.push(new);
        }
        let loss = at.get(loss.index()).copied().unwrap_or(loss);
        (nodes, feeds, loss)
    }

    /// The ops that read a node, with their layers.
    fn readers(&self, graph: &Graph, id: NodeId) -> String {
        let paths = graph.paths();
        let readers = self.nodes.iter().filter(|n| n.inputs.contains(&id));
        let names = readers.map(|n| {
            let path = paths.get(n.path as usize).map_or("", String::as_str);
            let layer = if path.is_empty() { "the model" } else { path };
            format!("{} in `{layer}`", n.op.name())
        });
        let mut names: Vec<String> = names.collect();
        names.dedup();
        names.join(" or ")
    }
}

fn direction(rng: &mut Rng, n: usize) -> Vec<f64> {
    (0..n).map(|_| rng.normal()).collect()
}

fn slope(gradients: &[Vec<f64>], directions: &[Vec<f64>]) -> Slope {
    let pairs = gradients.iter().flatten().zip(directions.iter().flatten());
    let (value, squares) = pairs.fold((0.0, 0.0), |(sum, squares), (g, v)| {
        (sum + g * v, squares + (g * v).powi(2))
    });
    Slope {
        value,
        scale: f64::sqrt(squares),
    }
}

fn shifted(x: &Tensor<f64>, v: &[f64], h: f64) -> Tensor<f64> {
    let values = x.to_f64().iter().zip(v).map(|(x, v)| x + h * v).collect();
    Tensor::float(x.shape(), values).unwrap_or_else(|| x.clone())
}
