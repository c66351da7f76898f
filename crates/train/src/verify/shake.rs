//! How far rounding alone may lead: evaluations of which every result is off by as much as `f32`
//! allows. A sum that cancels is as wrong as its terms, which neither its own size nor one
//! evaluation in `f32` shows: the gradient of a bias before a normalization is 0, but what is
//! computed is not.

use gradus_graph::ops::{Binary, Op};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Node, NodeId};

use super::case::{Case, keeps_bits, literal, push};
use crate::Error;

/// Evaluations: the largest of several differences counts.
const TRIALS: usize = 4;

impl Case {
    /// The values of a node in some evaluations in which rounding errors are made at random.
    pub(super) fn shaken(&self, node: NodeId) -> Result<Vec<Vec<f64>>, Error> {
        let mut rng = Rng::new(0, stream("verify.shake", 0));
        (0..TRIALS).map(|_| self.shake(node, &mut rng)).collect()
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
