//! Attention as a kernel.

use std::collections::BTreeSet;

use super::alone;
use super::cluster::strip;
use super::lower::Lowering;
use super::operand;
use crate::ops::{Attention, AttentionPart, AttentionSizes, Heads, Op};
use crate::passes::Ir;
use crate::{Node, NodeId, Part, Target};

/// One pass of an [`Attention`]: its result, or its gradient, without the matrix of weights in
/// memory.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionKernel {
    /// The settings.
    pub op: Attention,
    /// The sizes.
    pub sizes: AttentionSizes,
    /// Queries.
    pub q: HeadRows,
    /// Keys.
    pub k: HeadRows,
    /// Values.
    pub v: HeadRows,
    /// The mask.
    pub mask: Option<Mask>,
    /// What is computed.
    pub pass: AttentionPass,
}

/// Rows of heads in memory: that of sample `b`, position `t`, head `h` begins at the element
/// `offset + b·strides[0] + t·strides[1] + h·strides[2]` of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRows {
    /// The operand.
    pub operand: usize,
    /// Elements from its start to the first row.
    pub offset: usize,
    /// Elements from one sample, position and head to the next.
    pub strides: [usize; 3],
}

/// A mask in memory: its element for sample, head, query and key; 0 where all share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The operand, bool or f32.
    pub operand: usize,
    /// Elements from one sample, head, query and key to the next.
    pub strides: [usize; 4],
}

/// What a kernel of attention reads and writes besides queries, keys, values and mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttentionPass {
    /// The result.
    Forward {
        /// `[B, T, H, E]`
        y: HeadRows,
        /// Operand `[B, H, T]` for the logarithms of the sums, if they are wanted.
        log_sum: Option<usize>,
    },
    /// Gradients, those that are wanted.
    Backward {
        /// The result, `[B, T, H, E]`.
        y: HeadRows,
        /// Its gradient.
        dy: HeadRows,
        /// Operand `[B, H, T]` of the logarithms of the sums.
        log_sum: usize,
        /// The gradient of the queries.
        dq: Option<HeadRows>,
        /// The gradient of the keys.
        dk: Option<HeadRows>,
        /// The gradient of the values.
        dv: Option<HeadRows>,
    },
}

impl AttentionKernel {
    /// Operands, with what they are to the kernel.
    pub(super) fn operands_mut(&mut self) -> Vec<(&'static str, &mut usize)> {
        let mut all = vec![
            ("q", &mut self.q.operand),
            ("k", &mut self.k.operand),
            ("v", &mut self.v.operand),
        ];
        all.extend(self.mask.iter_mut().map(|m| ("mask", &mut m.operand)));
        match &mut self.pass {
            AttentionPass::Forward { y, log_sum } => {
                all.push(("y", &mut y.operand));
                all.extend(log_sum.iter_mut().map(|l| ("l", l)));
            }
            AttentionPass::Backward {
                y,
                dy,
                log_sum,
                dq,
                dk,
                dv,
            } => {
                all.extend([
                    ("y", &mut y.operand),
                    ("dy", &mut dy.operand),
                    ("l", log_sum),
                ]);
                for (name, rows) in [("dq", dq), ("dk", dk), ("dv", dv)] {
                    all.extend(rows.iter_mut().map(|r| (name, &mut r.operand)));
                }
            }
        }
        all
    }

    /// Floating-point operations: of a causal attention, the half that is needed.
    pub(super) fn flops(&self) -> u64 {
        let s = &self.sizes;
        let pairs = match (self.op.causal, s.keys < s.queries) {
            (false, _) => s.queries * s.keys,
            (true, false) => s.queries * (s.queries + 1) / 2,
            (true, true) => s.keys * (s.keys + 1) / 2 + (s.queries - s.keys) * s.keys,
        };
        let pairs = (s.batch * s.heads * pairs) as u64;
        let [d, e] = [s.width as u64, s.value_width as u64];
        let scores = 2 * (d + e);
        match self.pass {
            AttentionPass::Forward { .. } => pairs * scores,
            // Queries, and keys with values, each compute the weights again.
            AttentionPass::Backward { dq, dk, dv, .. } => {
                let queries = dq.map_or(0, |_| scores + 2 * d);
                let sums = dk.map_or(0, |_| 2 * d) + dv.map_or(0, |_| 2 * e);
                let keys = if sums > 0 { scores + sums } else { 0 };
                pairs * (queries + keys)
            }
        }
    }
}

/// Do two nodes belong to one kernel: parts of one attention, of the same direction, as far as there
/// are bindings? Gradients of keys and values sooner than that of queries, which has nothing in
/// common with them.
pub(super) fn share_kernel(ir: &Ir, a: NodeId, b: NodeId, live: &[bool], target: &Target) -> bool {
    if !are_siblings(ir, a, b) {
        return false;
    }
    let all = (0u32..).map(NodeId).zip(live).filter(|(_, live)| **live);
    let siblings = all.filter(|(id, _)| are_siblings(ir, a, *id)).count();
    let reads = BTreeSet::from_iter(alone::bases(ir, a)).len();
    let of_queries = |id: NodeId| match &ir.node(id).op {
        Op::Attention(op) => op.part == AttentionPart::Gradient(op.q.input),
        _ => false,
    };
    reads + siblings <= target.max_bindings
        || !of_queries(a) && !of_queries(b) && reads + 2 <= target.max_bindings
}

fn are_siblings(ir: &Ir, a: NodeId, b: NodeId) -> bool {
    let (a, b) = (ir.node(a), ir.node(b));
    match (&a.op, &b.op) {
        (Op::Attention(x), Op::Attention(y)) => {
            let gradient = |op: &Attention| matches!(op.part, AttentionPart::Gradient(_));
            let same = Attention {
                part: y.part,
                ..x.clone()
            };
            gradient(x) == gradient(y)
                && same == *y
                && a.inputs == b.inputs
                && (a.part == Part::Again) == (b.part == Part::Again)
        }
        _ => false,
    }
}

/// What must be in memory for a node of attention: the base of each of its inputs.
pub(super) fn bases(ir: &Ir, op: &Attention, node: &Node) -> Vec<NodeId> {
    let inputs = node.inputs.iter().enumerate();
    let base = |(i, &x): (usize, &NodeId)| {
        let rows = Some(i) != op.mask() && i != op.first_of_gradient() + 1;
        if rows {
            operand::heads(ir, x).base
        } else {
            strip(ir, x)
        }
    };
    inputs.map(base).collect()
}

/// The kernel of some parts of one attention; results are the operands from `stores` on, in the
/// order of `nodes`.
pub(super) fn kernel(
    ir: &Ir,
    nodes: &[NodeId],
    stores: usize,
    lowering: &mut Lowering<'_>,
) -> Option<AttentionKernel> {
    let node = ir.node(*nodes.first()?);
    let Op::Attention(op) = &node.op else {
        return None;
    };
    let shape_of = |i: usize| ir.node(node.inputs[i]).meta.shape;
    let sizes = op.sizes(shape_of);
    let stored = |part: AttentionPart| {
        let is_part = |n: &NodeId| matches!(&ir.node(*n).op, Op::Attention(op) if op.part == part);
        nodes.iter().position(is_part).map(|i| stores + i)
    };
    let mut read = |i: usize| {
        let layout = operand::heads(ir, node.inputs[i]);
        HeadRows {
            operand: lowering.load(layout.base),
            offset: layout.offset,
            strides: layout.strides,
        }
    };
    let [q, k, v] = [op.q, op.k, op.v].map(|h| read(h.input).from(h.first));
    let first = op.first_of_gradient();
    let pass = if matches!(op.part, AttentionPart::Gradient(_)) {
        let gradient = |h: Heads| {
            let operand = stored(AttentionPart::Gradient(h.input))?;
            Some(HeadRows::dense(operand, &shape_of(h.input)).from(h.first))
        };
        AttentionPass::Backward {
            y: read(first),
            dy: read(first + 2),
            log_sum: lowering.load(strip(ir, node.inputs[first + 1])),
            dq: gradient(op.q),
            dk: gradient(op.k),
            dv: gradient(op.v),
        }
    } else {
        let shape = [sizes.batch, sizes.queries, sizes.heads, sizes.value_width];
        AttentionPass::Forward {
            y: HeadRows::dense(stored(AttentionPart::Output)?, &shape),
            log_sum: stored(AttentionPart::LogSumExp),
        }
    };
    let mask = op.mask().map(|i| {
        let shape = shape_of(i);
        let mut strides = [0; 4];
        let mut stride = 1;
        for axis in (0..4).rev() {
            strides[axis] = if shape[axis] == 1 { 0 } else { stride };
            stride *= shape[axis];
        }
        Mask {
            operand: lowering.load(strip(ir, node.inputs[i])),
            strides,
        }
    });
    Some(AttentionKernel {
        op: op.clone(),
        sizes,
        q,
        k,
        v,
        mask,
        pass,
    })
}

impl HeadRows {
    /// Those of an operand `[B, T, heads, width]`.
    fn dense(operand: usize, shape: &[usize]) -> Self {
        let (row, head) = (shape[2] * shape[3], shape[3]);
        Self {
            operand,
            offset: 0,
            strides: [shape[1] * row, row, head],
        }
    }

    /// From a head on.
    fn from(self, head: usize) -> Self {
        Self {
            offset: self.offset + head * self.strides[2],
            ..self
        }
    }
}
