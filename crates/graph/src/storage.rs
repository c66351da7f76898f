//! How weights, and the values that the backward pass reads of the forward pass, are stored.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::Inner;
use crate::ops::{Op, Reduction, Unary};
use crate::{DType, Graph, Node, NodeId, Var};

/// How a step that trains stores what its products read: the values of the forward pass that the
/// backward pass reads, or the weights.
///
/// All arithmetic is in `f32`, and parameters, gradients and optimizer states are `f32` whichever
/// is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// As they are computed.
    #[default]
    F32,
    /// Rounded to bfloat16 ([`Var::bf16`]), in half the memory. Gradients flow as if nothing had
    /// been rounded.
    Bf16,
}

/// Elements below which a value stays `f32`: it takes no memory worth saving.
const LEAST: usize = 1024;

/// Pointwise ops that make a value of others that are saved: it is computed again.
const CHEAP: usize = 16;

impl Graph {
    /// Rounds to bfloat16 what the nodes behind `wanted` from number `forward` on, the backward
    /// pass, read of those before: whoever reads such a value, also in the forward pass, reads it
    /// rounded. Gives a function from the variables
    /// there were to what they are now.
    ///
    /// Stay as they are: values of fewer than 1024 elements, what does not depend on an input of
    /// the graph (parameters, masks of dropout), sums over axes and what is made of these alone
    /// (statistics of a normalization), logarithms of probabilities, results of kernels that
    /// stand alone (attention), and what a few pointwise ops make again of saved values.
    pub fn round_saved<'g>(
        &'g self,
        forward: usize,
        wanted: &[Var<'g>],
    ) -> impl Fn(Var<'g>) -> Var<'g> + use<'g> {
        let saved = saved(&self.inner.borrow().nodes, forward, wanted);
        self.round(saved)
    }

    /// Rounds to bfloat16 the parameters that products read: whoever reads such a parameter, also
    /// in the backward pass, reads it rounded. Gives a function from the variables there were to
    /// what they are now.
    ///
    /// Parameters of fewer than 1024 elements stay as they are.
    pub fn round_weights<'g>(&'g self) -> impl Fn(Var<'g>) -> Var<'g> + use<'g> {
        let weights = weights(&self.inner.borrow().nodes);
        self.round(weights)
    }

    /// Rounds nodes for all that read them.
    fn round<'g>(&'g self, rounded: Vec<bool>) -> impl Fn(Var<'g>) -> Var<'g> + use<'g> {
        let mut inner = self.inner.borrow_mut();
        let old = std::mem::take(&mut inner.nodes);
        let mut now: Vec<NodeId> = Vec::with_capacity(old.len());
        for (mut node, round) in old.into_iter().zip(rounded) {
            node.inputs.iter_mut().for_each(|x| *x = now[x.index()]);
            let like = node.clone();
            let mut id = push(&mut inner, node);
            if round {
                let (op, inputs) = (Op::Unary(Unary::Bf16), vec![id]);
                id = push(&mut inner, Node { op, inputs, ..like });
            }
            now.push(id);
        }
        inner.renumber(|id| now[id.index()]);
        drop(inner);
        move |var| now.get(var.id().index()).map_or(var, |&id| self.var(id))
    }
}

fn push(inner: &mut Inner, node: Node) -> NodeId {
    inner.nodes.push(node);
    NodeId(u32::try_from(inner.nodes.len() - 1).unwrap_or(u32::MAX))
}

/// For each node: is it read by the backward pass, and to be rounded?
fn saved(nodes: &[Node], forward: usize, wanted: &[Var<'_>]) -> Vec<bool> {
    let mut live = vec![false; nodes.len()];
    let mut stack: Vec<NodeId> = wanted.iter().map(Var::id).collect();
    let mut read = Vec::new();
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut live[id.index()], true) {
            continue;
        }
        if id.index() < forward {
            read.push(id);
        } else {
            stack.extend(&nodes[id.index()].inputs);
        }
    }
    let kinds = kinds(nodes);
    let mut saved = marked(nodes, read);
    for (i, saved) in saved.iter_mut().enumerate() {
        let node = &nodes[i];
        *saved &= kinds[i] == Kind::Data
            && node.meta.dtype == DType::F32
            && node.meta.shape.numel() >= LEAST
            && !is_exact(&node.op);
    }
    // What a product reads has to be in memory; other pointwise results are made again of saved
    // values, and several of one value of that.
    let operands = operands(nodes);
    let mut of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in (0..nodes.len()).filter(|&i| !operands[i]) {
        if !saved[i] {
            continue;
        }
        let made = sources(nodes, i, &saved, &kinds).unwrap_or_default();
        saved[i] = made.is_empty() || made.iter().any(|&x| !saved[x]);
        if let (true, [x]) = (saved[i], &made[..]) {
            of.entry(*x).or_default().push(i);
        }
    }
    for (x, made) in of.into_iter().filter(|(_, made)| made.len() > 1) {
        saved[x] = !is_exact(&nodes[x].op);
        made.into_iter().for_each(|i| saved[i] = !saved[x]);
    }
    saved
}

/// For each node: is it a parameter that products read, large enough to be rounded?
fn weights(nodes: &[Node]) -> Vec<bool> {
    let mut weights = operands(nodes);
    for (weight, node) in weights.iter_mut().zip(nodes) {
        let large = node.meta.shape.numel() >= LEAST;
        *weight &= matches!(node.op, Op::Param(_)) && large;
    }
    weights
}

/// The nodes that products read.
fn operands(nodes: &[Node]) -> Vec<bool> {
    let products = nodes.iter().filter(|n| is_product(&n.op));
    let inputs = products.flat_map(|n| n.inputs.iter().copied());
    marked(nodes, inputs.collect())
}

/// These nodes; a view stands for what it is a view of.
fn marked(nodes: &[Node], mut ids: Vec<NodeId>) -> Vec<bool> {
    let mut marked = vec![false; nodes.len()];
    while let Some(id) = ids.pop() {
        let node = &nodes[id.index()];
        if node.op.is_view() || matches!(node.op, Op::StopGradient) {
            ids.extend(&node.inputs);
        } else {
            marked[id.index()] = true;
        }
    }
    marked
}

const fn is_product(op: &Op) -> bool {
    matches!(op, Op::MatMul(_) | Op::Conv(_) | Op::Attention(_))
}

fn is_pointwise(op: &Op) -> bool {
    op.is_view()
        || matches!(
            op,
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast(_) | Op::StopGradient
        )
}

/// The saved nodes, and those that are not pointwise, of which this node is made by a few pointwise
/// ops, beside what is there anyway.
fn sources(nodes: &[Node], of: usize, saved: &[bool], kinds: &[Kind]) -> Option<Vec<usize>> {
    let (mut cost, mut seen, mut sources) = (0, BTreeSet::new(), Vec::new());
    let mut stack = vec![of];
    while let Some(i) = stack.pop() {
        if kinds[i] != Kind::Data || !seen.insert(i) {
            continue;
        }
        let node = &nodes[i];
        if i != of && (saved[i] || !is_pointwise(&node.op)) {
            sources.push(i);
            continue;
        }
        cost += usize::from(!node.op.is_view());
        if cost > CHEAP || !is_pointwise(&node.op) {
            return None;
        }
        stack.extend(node.inputs.iter().map(|x| x.index()));
    }
    Some(sources)
}

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No input of the graph.
    Fixed,
    /// Sums over inputs.
    Statistic,
    /// Inputs.
    Data,
}

fn kinds(nodes: &[Node]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let made_of = |kind| node.inputs.iter().any(|x| kinds[x.index()] == kind);
        let pointwise = is_pointwise(&node.op);
        let sums = matches!(&node.op, Op::Reduce(r) if r.op == Reduction::Sum);
        let data = made_of(Kind::Data);
        let statistic = made_of(Kind::Statistic);
        kinds.push(match node.op {
            Op::Input(_) => Kind::Data,
            _ if !data && !statistic => Kind::Fixed,
            _ if sums || (pointwise && !data) => Kind::Statistic,
            _ => Kind::Data,
        });
    }
    kinds
}

/// Is the result never rounded: a source, what a kernel of its own writes, or too exact?
fn is_exact(op: &Op) -> bool {
    match op {
        Op::Composite(c) => c.name() == "log_softmax",
        Op::Unary(op) => *op == Unary::Bf16,
        op => op.is_source() || op.is_alone(),
    }
}
