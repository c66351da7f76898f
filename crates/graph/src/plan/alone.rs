//! Kernels of nodes that share no loop with others, and read all that they need from memory.

use super::attention;
use super::cluster::strip;
use super::kernel::{KernelKind, ScanKernel, ScatterKernel, SortKernel, UpdateKernel};
use super::lower::Lowering;
use crate::NodeId;
use crate::ops::{ArgSort, Op, around};
use crate::passes::Ir;

/// What must be in memory for a node that stands alone: the base of each of its inputs.
pub(super) fn bases(ir: &Ir, id: NodeId) -> Vec<NodeId> {
    let node = ir.node(id);
    match &node.op {
        Op::Attention(op) => attention::bases(ir, op, node),
        _ => node.inputs.iter().map(|&x| strip(ir, x)).collect(),
    }
}

/// The kernel of a node that stands alone, or of several parts of one attention; results are the
/// operands from `out` on.
pub(super) fn kernel(
    ir: &Ir,
    nodes: &[NodeId],
    out: usize,
    lowering: &mut Lowering<'_>,
) -> KernelKind {
    if let Some(kernel) = attention::kernel(ir, nodes, out, lowering) {
        return KernelKind::Attention(kernel);
    }
    let Some(&id) = nodes.first() else {
        return KernelKind::Program(Default::default());
    };
    let node = ir.node(id);
    let sources: Vec<NodeId> = node.inputs.iter().map(|&x| strip(ir, x)).collect();
    let operands: Vec<usize> = sources.iter().map(|&x| lowering.load(x)).collect();
    let shape = node.meta.shape;
    match (&node.op, operands.as_slice()) {
        (Op::ScatterAdd(_), &[x, index, ref order @ ..]) => KernelKind::Scatter(ScatterKernel {
            x: Some(x),
            index,
            order: order.first().copied(),
            out,
            count: ir.node(node.inputs[1]).meta.shape.numel(),
            rows: shape[0],
            width: shape[1..].iter().product(),
        }),
        (Op::FirstPosition(op), &[index, ref order @ ..]) => KernelKind::Scatter(ScatterKernel {
            x: None,
            index,
            order: order.first().copied(),
            out,
            count: ir.node(node.inputs[0]).meta.shape.numel(),
            rows: op.rows,
            width: 1,
        }),
        (Op::Scan(scan), &[ref a @ .., x]) => {
            let [outer, length, inner] = around(&shape, scan.axis);
            KernelKind::Scan(ScanKernel {
                op: scan.op,
                reverse: scan.reverse,
                a: a.first().copied(),
                x,
                out,
                outer,
                length,
                inner,
            })
        }
        (Op::ArgSort(sort), &[x, ref order @ ..]) => {
            let [rows, length] = ArgSort::rows(&shape);
            KernelKind::Sort(SortKernel {
                x,
                order: order.first().copied(),
                out,
                rows,
                length,
                run: sort.run,
                descending: sort.descending,
            })
        }
        (Op::SliceUpdate(_), &[x, new, start]) => KernelKind::Update(UpdateKernel {
            x,
            new,
            start,
            out,
            batch: shape[0],
            rows: shape[1],
            count: ir.node(node.inputs[1]).meta.shape[1],
            width: shape[2..].iter().product(),
        }),
        _ => KernelKind::Program(Default::default()),
    }
}
