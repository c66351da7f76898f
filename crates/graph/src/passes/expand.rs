//! Composites become the primitives that are their meaning, if the target has no kernel for them.

use super::Ir;
use crate::ops::{Composite as _, Op};
use crate::{Node, Target};

/// Expands until all that is left can be computed.
pub(super) fn run(mut ir: Ir, target: &Target) -> Ir {
    while (0..ir.nodes.len())
        .zip(ir.live())
        .any(|(i, live)| live && expands(&ir, &ir.nodes[i], target))
    {
        ir = ir.rewrite(|out, node, inputs| match &node.op {
            Op::Composite(op) => op.expand(inputs),
            Op::Attention(op) if expands(&ir, node, target) => op.expand(inputs),
            op => out.emit(op.clone(), inputs, node),
        });
    }
    ir
}

fn expands(ir: &Ir, node: &Node, target: &Target) -> bool {
    match &node.op {
        Op::Composite(_) => true,
        Op::Attention(op) => {
            let inputs: Vec<_> = node.inputs.iter().map(|&x| ir.node(x).meta).collect();
            !op.is_fused(&inputs, target)
        }
        _ => false,
    }
}
