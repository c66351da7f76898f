//! Something the reference evaluates: nodes, and values for their leaves.

use std::sync::Arc;

use gradus_cpu::oracle::{self, Feeds, Float, Tensor};
use gradus_graph::backend::StepRow;
use gradus_graph::ops::{Binary, Op, Unary};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Array, Node, NodeId};

use super::bound::{Check, Reference};
use crate::Error;

/// Nodes with values for their leaves.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// For messages.
    pub(super) what: String,
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: Vec<Array>,
    pub(super) params: Vec<Array>,
    pub(super) states: Vec<Array>,
    pub(super) row: StepRow,
}

impl Case {
    pub(super) fn feeds<T: Float>(&self) -> Feeds<T> {
        let tensors = |arrays: &[Array]| arrays.iter().map(Tensor::from_array).collect();
        Feeds {
            inputs: tensors(&self.inputs),
            params: tensors(&self.params),
            states: tensors(&self.states),
            row: self.row,
        }
    }

    /// The values of some nodes, as numbers, in the precision `T`.
    pub(super) fn eval<T: Float>(&self, wanted: &[NodeId]) -> Result<Vec<Vec<f64>>, Error> {
        let values = self.tensors(&self.nodes, &self.feeds::<T>(), wanted)?;
        Ok(values.iter().map(Tensor::to_f64).collect())
    }

    /// The values of some of `nodes`, a variant of this case's.
    pub(super) fn tensors<T: Float>(
        &self,
        nodes: &[Node],
        feeds: &Feeds<T>,
        wanted: &[NodeId],
    ) -> Result<Vec<Tensor<T>>, Error> {
        let found = oracle::eval(nodes, feeds, wanted).map_err(|source| Error::Oracle {
            what: self.what.clone(),
            source: Box::new(source),
        })?;
        Ok(found.values)
    }

    /// How many terms are summed on the way, over all sums: rounding errors grow with its root.
    pub(super) fn terms(&self) -> f64 {
        let terms = self.nodes.iter().map(|node| self.terms_of(node));
        terms.sum::<usize>().max(1) as f64
    }

    /// How many terms an element of this node sums; 0 if it is no sum.
    pub(super) fn terms_of(&self, node: &Node) -> usize {
        let size = |id: &NodeId| self.nodes.get(id.index()).map(|n| n.meta.shape);
        let first = node.inputs.first().and_then(size);
        match (&node.op, first) {
            (Op::Reduce(_) | Op::ScatterAdd(_), Some(x)) => {
                x.numel() / node.meta.shape.numel().max(1)
            }
            (Op::Scan(op), Some(x)) => x.get(op.axis).copied().unwrap_or(1),
            (Op::MatMul(op), Some(a)) if a.rank() >= 2 => {
                let axis = a.rank() - if op.trans_a { 2 } else { 1 };
                a.get(axis).copied().unwrap_or(1)
            }
            (Op::Conv(op), Some(x)) => op.terms(x.first().copied().unwrap_or(1)),
            (Op::Composite(_), Some(x)) => x.last_dim(),
            _ => 0,
        }
    }

    /// Compares what was found with the reference of `node`. Where something is too far the
    /// reference is widened by what rounding does to it, and asked again.
    pub(super) fn judge(
        &self,
        reference: &mut Reference,
        name: &str,
        found: &[f64],
        strict: bool,
        node: NodeId,
    ) -> Result<Check, Error> {
        let judge = |reference: &Reference| {
            reference.judge(name.to_owned(), found, strict, || self.nudged_one(node))
        };
        let check = judge(reference)?;
        if check.passed() {
            return Ok(check);
        }
        reference.widen(&self.shaken(node)?);
        judge(reference)
    }

    /// Evaluations with the arguments of every discontinuous function moved by about as much as
    /// rounding may move them, up or down at random: an element that jumps lies within its bound
    /// of a discontinuity.
    fn nudged(&self, wanted: &[NodeId]) -> Result<Vec<Vec<Vec<f64>>>, Error> {
        let exact = self.exact();
        let mut moved: Vec<NodeId> = Vec::new();
        for node in self.nodes.iter().filter(|n| is_discontinuous(n)) {
            for &x in &node.inputs {
                let is_float = self
                    .nodes
                    .get(x.index())
                    .is_some_and(|n| n.meta.dtype.is_float());
                if is_float && exact.get(x.index()) == Some(&false) && !moved.contains(&x) {
                    moved.push(x);
                }
            }
        }
        if moved.is_empty() {
            return Ok(Vec::new());
        }
        let sizes = self.eval::<f64>(&moved)?;
        let step = |values: &Vec<f64>| {
            let most = values.iter().map(|v| v.abs()).filter(|v| v.is_finite());
            super::bound::rounding(self.terms()) * most.fold(0.0, f64::max)
        };
        let steps: Vec<f64> = sizes.iter().map(step).collect();
        let mut rng = Rng::new(0, stream("verify.nudge", 0));
        let trials = (0..TRIALS).map(|_| self.nudge_once(&moved, &steps, &mut rng, wanted));
        trials.collect()
    }

    /// [`Case::nudged`] for one node.
    pub(super) fn nudged_one(&self, node: NodeId) -> Result<Vec<Vec<f64>>, Error> {
        let trials = self.nudged(&[node])?;
        Ok(trials.into_iter().filter_map(|mut t| t.pop()).collect())
    }

    fn nudge_once(
        &self,
        moved: &[NodeId],
        steps: &[f64],
        rng: &mut Rng,
        wanted: &[NodeId],
    ) -> Result<Vec<Vec<f64>>, Error> {
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        // Where each node is now, and where discontinuous functions read it.
        let mut at: Vec<[NodeId; 2]> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let side = usize::from(is_discontinuous(node));
            let inputs = node.inputs.iter();
            let inputs = inputs.filter_map(|x| at.get(x.index()).map(|ids| ids[side]));
            let id = push(&mut nodes, node.op.clone(), inputs.collect(), node);
            let found = moved.iter().zip(steps).find(|(m, _)| m.index() == i);
            let read = match found {
                None => id,
                Some((_, &step)) => {
                    let by = literal(node, 0.0, step, rng);
                    let by = push(&mut nodes, by, Vec::new(), node);
                    push(&mut nodes, Op::Binary(Binary::Add), vec![id, by], node)
                }
            };
            at.push([id, read]);
        }
        let wanted: Vec<NodeId> = wanted
            .iter()
            .filter_map(|w| at.get(w.index()).map(|ids| ids[0]))
            .collect();
        let values = self.tensors(&nodes, &self.feeds::<f64>(), &wanted)?;
        Ok(values.iter().map(Tensor::to_f64).collect())
    }

    /// For each node: does every executor compute the very same bits?
    fn exact(&self) -> Vec<bool> {
        let mut exact: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs = node
                .inputs
                .iter()
                .all(|x| exact.get(x.index()) == Some(&true));
            let keeps = keeps_bits(node);
            exact.push(inputs && keeps);
        }
        exact
    }
}

/// Does the op itself give every executor the same bits, if its inputs have them?
pub(super) fn keeps_bits(node: &Node) -> bool {
    match &node.op {
        op if op.is_source() || op.is_view() => true,
        Op::Cast(_) | Op::StopGradient | Op::CheckIndex { .. } | Op::Gather(_) | Op::Select => true,
        Op::Binary(op) => op.is_comparison() || !node.meta.dtype.is_float(),
        Op::Unary(Unary::Bf16) => true,
        _ => !node.meta.dtype.is_float(),
    }
}

/// How often arguments are moved. An element between two branches is found out with probability
/// ½ each time.
const TRIALS: usize = 8;

fn is_discontinuous(node: &Node) -> bool {
    match &node.op {
        Op::Binary(op) => op.is_comparison() || *op == Binary::Rem,
        Op::Unary(op) => matches!(
            op,
            Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign | Unary::Bf16
        ),
        Op::Cast(dtype) => !dtype.is_float(),
        Op::ArgReduce(_) => true,
        _ => false,
    }
}

/// `around ± step`, at random for each element.
#[allow(clippy::cast_possible_truncation, reason = "host arrays are f32")]
pub(super) fn literal(like: &Node, around: f64, step: f64, rng: &mut Rng) -> Op {
    let n = like.meta.shape.numel();
    let mut side = || if rng.next_u32() & 1 == 0 { step } else { -step };
    let values: Vec<f32> = (0..n).map(|_| (around + side()) as f32).collect();
    let array = Array::new(like.meta.shape, values);
    Op::Literal(Arc::new(
        array.unwrap_or_else(|_| Array::zeros(like.meta.shape, like.meta.dtype)),
    ))
}

/// Adds a node of the same shape and dtype as `like`.
pub(super) fn push(nodes: &mut Vec<Node>, op: Op, inputs: Vec<NodeId>, like: &Node) -> NodeId {
    let id = NodeId(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    nodes.push(Node {
        op,
        inputs,
        ..like.clone()
    });
    id
}
