//! How far rounding alone may lead: evaluations of which every result is off by as much as `f32`
//! allows. A sum that cancels is as wrong as its terms, which neither its own size nor one
//! evaluation in `f32` shows: the gradient of a bias before a normalization is 0, but what is
//! computed is not.

use gradus_graph::ops::{Binary, Composite, Op};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Graph, Node, NodeId};

use super::case::{Case, keeps_bits, literal, push};
use crate::Error;

/// Evaluations: the largest of several differences counts.
const TRIALS: usize = 4;

impl Case {
    /// The values of a node in some evaluations in which rounding errors are made at random.
    pub(super) fn shaken(&self, node: NodeId) -> Result<Vec<Vec<f64>>, Error> {
        let (nodes, at) = expanded(&self.nodes);
        let Some(&node) = at.get(node.index()) else {
            return Ok(Vec::new());
        };
        let case = Self {
            nodes,
            ..self.clone()
        };
        let mut rng = Rng::new(0, stream("verify.shake", 0));
        (0..TRIALS).map(|_| case.shake(node, &mut rng)).collect()
    }

    fn shake(&self, wanted: NodeId, rng: &mut Rng) -> Result<Vec<f64>, Error> {
        let epsilon = f64::from(f32::EPSILON);
        let mut nodes: Vec<Node> = Vec::with_capacity(2 * self.nodes.len());
        let mut at: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs = node
                .inputs
                .iter()
                .filter_map(|x| at.get(x.index()).copied());
            let mut inputs: Vec<NodeId> = inputs.collect();
            // The sums on the way to a sum of many terms are rounded too.
            let terms = self.terms_of(node);
            if terms > 1 {
                let step = epsilon * (terms as f64).sqrt().sqrt();
                for x in &mut inputs {
                    *x = scaled(&mut nodes, *x, step, rng);
                }
            }
            let id = push(&mut nodes, node.op.clone(), inputs, node);
            at.push(match keeps_bits(node) {
                true => id,
                false => scaled(&mut nodes, id, epsilon, rng),
            });
        }
        let wanted: Vec<NodeId> = at.get(wanted.index()).copied().into_iter().collect();
        let values = self.tensors(&nodes, &self.feeds::<f64>(), &wanted)?;
        Ok(values.first().map_or_else(Vec::new, |v| v.to_f64()))
    }
}

/// The same with what composites are made of in their place, for their inner results are rounded
/// too; and where each node is now.
fn expanded(nodes: &[Node]) -> (Vec<Node>, Vec<NodeId>) {
    let mut all = Vec::with_capacity(nodes.len());
    let mut at: Vec<NodeId> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let inputs = node.inputs.iter();
        let inputs = inputs.filter_map(|x| at.get(x.index()).copied());
        let inputs = inputs.collect();
        at.push(add(&mut all, node, inputs));
    }
    (all, at)
}

/// Adds a node of these inputs, or what it is made of.
fn add(nodes: &mut Vec<Node>, node: &Node, inputs: Vec<NodeId>) -> NodeId {
    let composite: &dyn Composite = match &node.op {
        Op::Composite(op) => &**op,
        Op::Attention(op) => op,
        op => return push(nodes, op.clone(), inputs, node),
    };
    let graph = Graph::new();
    let metas = inputs.iter().filter_map(|x| nodes.get(x.index()));
    let vars: Vec<_> = metas
        .map(|n| graph.input("x", n.meta.shape, n.meta.dtype))
        .collect();
    let result = composite.expand(&vars).id();
    let mut at: Vec<NodeId> = Vec::new();
    for inner in graph.nodes() {
        let input = match inner.op {
            Op::Input(i) => inputs.get(i as usize).copied(),
            _ => None,
        };
        let id = input.unwrap_or_else(|| {
            let inputs = inner.inputs.iter();
            let inputs = inputs.filter_map(|x| at.get(x.index()).copied());
            let inputs = inputs.collect();
            add(nodes, &inner, inputs)
        });
        at.push(id);
    }
    at.get(result.index()).copied().unwrap_or(result)
}

/// A float times `1 ± step`; others stay.
fn scaled(nodes: &mut Vec<Node>, x: NodeId, step: f64, rng: &mut Rng) -> NodeId {
    match nodes.get(x.index()).cloned() {
        Some(like) if like.meta.dtype.is_float() => {
            let by = literal(&like, 1.0, step, rng);
            let by = push(nodes, by, Vec::new(), &like);
            push(nodes, Op::Binary(Binary::Mul), vec![x, by], &like)
        }
        _ => x,
    }
}
