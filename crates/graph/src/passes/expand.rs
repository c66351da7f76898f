//! Composites become the primitives that are their meaning.

use super::Ir;
use crate::ops::Op;

pub(super) fn run(ir: &Ir) -> Ir {
    ir.rewrite(|out, node, inputs| match &node.op {
        Op::Composite(op) => op.expand(inputs),
        op => out.emit(op.clone(), inputs, node),
    })
}
