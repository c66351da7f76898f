//! What to compute again so that the fewest bytes are kept for the backward pass.
//!
//! A minimum cut between what is not to be computed again and what the backward pass reads: a value
//! that is kept costs its bytes, and what lies behind the kept values is computed again. Of equal
//! cuts it is the one nearest to the readers, which computes least.
//!
//! Source: Jain et al. (2020), "Checkmate", arXiv:1910.02653, for the problem; the cut as in
//! PyTorch's partitioner of traced graphs.

use std::collections::VecDeque;

use super::{Ir, recompute};
use crate::NodeId;
use crate::ops::{AttentionPart, Op};
use crate::plan::cluster::packs;

/// Terms up to which the result of a reduction is not small.
const FEW: usize = 16;

/// More than all bytes there are.
const NEVER: u64 = u64::MAX / 4;

/// Nodes of the forward pass to be computed again: of those that are `kept` none but those that are
/// `chosen` already.
pub(crate) fn cheapest(ir: &Ir, forward: &[bool], kept: &[bool], chosen: &[bool]) -> Vec<bool> {
    let live = ir.live();
    let takes_part = |i: usize| forward[i] && live[i] && !ir.nodes[i].op.is_source();
    // Every node has an end at which it is made, and one at which it is read.
    let (made, read) = (|i: usize| 2 * i, |i: usize| 2 * i + 1);
    let [source, sink] = [2 * ir.nodes.len(), 2 * ir.nodes.len() + 1];
    let mut network = Network::new(sink + 1);
    for (i, node) in ir.nodes.iter().enumerate().filter(|(i, _)| live[*i]) {
        let mut inputs: Vec<usize> = node.inputs.iter().map(|x| x.index()).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let reader = if takes_part(i) { made(i) } else { sink };
        for x in inputs.into_iter().filter(|&x| takes_part(x)) {
            network.edge(read(x), reader, NEVER);
        }
        if takes_part(i) {
            let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
            let bytes = if chosen[i] { NEVER } else { bytes(ir, id) };
            network.edge(made(i), read(i), bytes);
            if (kept[i] || !recompute::can_copy(node)) && !chosen[i] {
                network.edge(source, made(i), NEVER);
            }
        }
    }
    let after = network.cut(source, sink);
    (0..ir.nodes.len())
        .map(|i| takes_part(i) && after[made(i)])
        .collect()
}

/// What it takes to keep a node; views lie where that does which they show.
fn bytes(ir: &Ir, id: NodeId) -> u64 {
    let node = ir.node(id);
    match () {
        () if node.op.is_view() => NEVER,
        () if ir.roots.contains(&id) => 0,
        () if packs(ir, id) => node.meta.bytes() as u64 / 2,
        () => node.meta.bytes() as u64,
    }
}

/// What computing a node again costs.
pub(crate) enum Cost {
    /// As good as nothing: it moves or combines elements.
    Cheap,
    /// This many operations for each byte of its result.
    Product(u64),
    /// More than it is worth: its result is small, or takes long.
    Never,
}

/// The cost of a node.
pub(crate) fn cost(ir: &Ir, id: NodeId) -> Cost {
    let node = ir.node(id);
    let shape_of = |i: usize| ir.node(node.inputs[i]).meta.shape;
    let terms = |inner: usize| Cost::Product(2 * inner as u64 / node.meta.dtype.bytes() as u64);
    match &node.op {
        Op::MatMul(m) => {
            let a = shape_of(0);
            terms(a[a.rank() - if m.trans_a { 2 } else { 1 }])
        }
        Op::Conv(conv) => terms(conv.product(shape_of(0)[0])[3]),
        Op::Attention(op) if op.part == AttentionPart::Output => {
            let sizes = op.sizes(shape_of);
            let both = (sizes.width + sizes.value_width) * sizes.keys;
            terms(both / sizes.value_width.max(1) / if op.causal { 2 } else { 1 })
        }
        Op::Reduce(_) => match shape_of(0).numel() / node.meta.shape.numel().max(1) {
            count @ ..=FEW => terms(count),
            _ => Cost::Never,
        },
        Op::ArgReduce(_) => Cost::Never,
        op if op.is_alone() => Cost::Never,
        _ => Cost::Cheap,
    }
}

/// A network through which as much as possible is sent from one end to the other.
struct Network {
    /// Where each edge leads, and how much more can be sent along it. Edge `e ^ 1` is edge `e`
    /// backwards.
    edges: Vec<(usize, u64)>,
    /// The edges that leave each node.
    of: Vec<Vec<usize>>,
}

impl Network {
    fn new(nodes: usize) -> Self {
        Self {
            edges: Vec::new(),
            of: vec![Vec::new(); nodes],
        }
    }

    fn edge(&mut self, from: usize, to: usize, capacity: u64) {
        self.of[from].push(self.edges.len());
        self.of[to].push(self.edges.len() + 1);
        self.edges.extend([(to, capacity), (from, 0)]);
    }

    /// For each node: does it lie behind the minimum cut that is nearest to the sink?
    ///
    /// Shortest augmenting paths (Edmonds & Karp 1972, doi:10.1145/321694.321699).
    fn cut(mut self, source: usize, sink: usize) -> Vec<bool> {
        loop {
            // Backwards from the sink, so that the last search, which does not arrive, has found
            // what lies behind the cut.
            let mut next: Vec<Option<usize>> = vec![None; self.of.len()];
            let mut seen = vec![false; self.of.len()];
            seen[sink] = true;
            let mut queue = VecDeque::from([sink]);
            while let Some(node) = queue.pop_front().filter(|_| !seen[source]) {
                for &back in &self.of[node] {
                    let (from, edge) = (self.edges[back].0, back ^ 1);
                    if self.edges[edge].1 > 0 && !seen[from] {
                        seen[from] = true;
                        next[from] = Some(edge);
                        queue.push_back(from);
                    }
                }
            }
            if !seen[source] {
                return seen;
            }
            let mut path = Vec::new();
            let mut node = source;
            while let Some(edge) = next[node] {
                path.push(edge);
                node = self.edges[edge].0;
            }
            let least = path.iter().map(|&e| self.edges[e].1).min().unwrap_or(0);
            for edge in path {
                self.edges[edge].1 -= least;
                self.edges[edge ^ 1].1 += least;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn of_equal_cuts_the_one_nearest_to_the_sink() {
        // 0 → 1 → 2 → 3, where the last two edges are as narrow as the first.
        let mut network = Network::new(4);
        for i in 0..3 {
            network.edge(i, i + 1, 5);
        }
        assert_eq!(network.cut(0, 3), [false, false, false, true]);
    }

    #[test]
    fn a_cut_takes_what_is_narrow() {
        // Two ways from 0 to 3: narrow at the beginning, and narrow at the end.
        let mut network = Network::new(4);
        network.edge(0, 1, 1);
        network.edge(1, 3, 9);
        network.edge(0, 2, 9);
        network.edge(2, 3, 1);
        assert_eq!(network.cut(0, 3), [false, true, false, true]);
    }
}
