//! Values of the forward pass that the backward pass computes again instead of reading.
//!
//! The last of the passes, since from here on equal nodes are no longer one: what is computed again
//! is a copy, of [`Part::Again`], whose only readers are copies and the backward pass. Kernels of
//! copies wait for the backward pass to arrive there (`plan/schedule.rs`), and what they compute
//! takes memory only from then on.

use std::collections::BTreeSet;

use super::Ir;
use crate::ops::{Attention, AttentionPart, Op};
use crate::{Node, NodeId, Part};

/// The nodes of a forward pass: what is made without gradients.
pub(crate) fn forward(ir: &Ir) -> Vec<bool> {
    let mut forward: Vec<bool> = Vec::with_capacity(ir.nodes.len());
    for (i, node) in ir.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().all(|x| forward[x.index()]);
        let own = node.op.is_source() || node.part != Part::Backward;
        forward.push(inputs && (own || beside(ir, i).is_some()));
    }
    forward
}

/// The node of the forward pass beside which this one is made, though only gradients need it.
fn beside(ir: &Ir, i: usize) -> Option<usize> {
    let node = &ir.nodes[i];
    if node.part != Part::Backward || !matches!(node.op, Op::Attention(_) | Op::ArgReduce(_)) {
        return None;
    }
    (0..i).find(|&k| ir.nodes[k].part != Part::Backward && is_beside(node, &ir.nodes[k]))
}

/// Is a node that only gradients need made beside one of the forward pass: the sums of an
/// attention's weights beside its result, the place of a maximum beside it?
fn is_beside(node: &Node, made: &Node) -> bool {
    let same = match (&node.op, &made.op) {
        (Op::Attention(a), Op::Attention(b)) => {
            let result = Attention {
                part: AttentionPart::Output,
                ..a.clone()
            };
            a.part == AttentionPart::LogSumExp && result == *b
        }
        (Op::ArgReduce(a), Op::Reduce(b)) => a.op == b.op && b.axes == [a.axis],
        _ => return false,
    };
    same && node.inputs == made.inputs
}

/// Can a copy of the node take its place? A check of indices reports what it finds once, and a
/// source takes no memory.
pub(super) fn can_copy(node: &Node) -> bool {
    !node.op.is_source() && !matches!(node.op, Op::CheckIndex { .. })
}

/// What lies within checkpointed segments of the forward pass: read by nothing outside of them but
/// gradients.
pub(crate) fn checkpointed(ir: &Ir, forward: &[bool]) -> Vec<bool> {
    let beside: Vec<usize> = (0..ir.nodes.len())
        .map(|i| beside(ir, i).unwrap_or(i))
        .collect();
    let part = |i: usize| ir.nodes[beside[i]].part;
    let mut kept = vec![false; ir.nodes.len()];
    ir.roots.iter().for_each(|root| kept[root.index()] = true);
    for i in (0..ir.nodes.len()).rev().filter(|&i| forward[i]) {
        let node = &ir.nodes[i];
        let is_kept = node.op.is_view() && kept[i];
        for x in &node.inputs {
            kept[x.index()] |= is_kept || part(i) != part(x.index());
        }
    }
    let within = |(i, node): (usize, &Node)| {
        let inside = matches!(part(i), Part::Checkpoint(_)) && !kept[beside[i]];
        forward[i] && inside && !kept[i] && can_copy(node)
    };
    ir.nodes.iter().enumerate().map(within).collect()
}

/// Has the backward pass read copies of the nodes of the forward pass that are `chosen`.
pub(crate) fn run(ir: &Ir, forward: &[bool], chosen: &[bool]) -> Ir {
    let mut copies = Copies {
        ir,
        chosen,
        made: Ir {
            paths: ir.paths.clone(),
            ..Ir::default()
        },
        now: vec![NodeId::POISON; ir.nodes.len()],
        again: vec![NodeId::POISON; ir.nodes.len()],
    };
    let live = ir.live();
    let all = || (0u32..).map(NodeId).zip(&live).filter(|(_, live)| **live);
    for (id, _) in all().filter(|(id, _)| forward[id.index()]) {
        copies.now[id.index()] = copies.push(id, Part::Forward);
    }
    for (id, _) in all().filter(|(id, _)| !forward[id.index()]) {
        for needed in copies.needed(id) {
            copies.again[needed.index()] = copies.push(needed, Part::Again);
        }
        copies.now[id.index()] = copies.push(id, Part::Backward);
    }
    copies.made.roots = ir.roots.iter().map(|r| copies.now[r.index()]).collect();
    copies.made
}

struct Copies<'a> {
    ir: &'a Ir,
    chosen: &'a [bool],
    made: Ir,
    /// What each node, and its copy, is now.
    now: Vec<NodeId>,
    again: Vec<NodeId>,
}

impl Copies<'_> {
    fn push(&mut self, id: NodeId, part: Part) -> NodeId {
        let node = self.ir.node(id);
        let read = |x: &NodeId| match part != Part::Forward && self.chosen[x.index()] {
            true => self.again[x.index()],
            false => self.now[x.index()],
        };
        self.made.nodes.push(Node {
            inputs: node.inputs.iter().map(read).collect(),
            part,
            ..node.clone()
        });
        NodeId(u32::try_from(self.made.nodes.len() - 1).unwrap_or(u32::MAX))
    }

    /// The copies that are still to be made for a node, in order.
    fn needed(&self, id: NodeId) -> BTreeSet<NodeId> {
        let mut needed = BTreeSet::new();
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            for &x in &self.ir.node(id).inputs {
                let is_new = self.chosen[x.index()] && self.again[x.index()] == NodeId::POISON;
                if is_new && needed.insert(x) {
                    stack.push(x);
                }
            }
        }
        needed
    }
}
