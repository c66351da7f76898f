//! Local rewrites: constants fold, views join, transpositions become matmul flags.

use super::{Ir, Rewriter, fold};
use crate::ops::{Binary, Expand, MatMul, Op, Permute, Reduce, Reduction, Unary};
use crate::{Node, Scalar, Var};

pub(super) fn run(ir: &Ir) -> Ir {
    let uses = ir.uses();
    ir.rewrite(|out, node, inputs| {
        // Only a product that nothing else reads may be turned around.
        let sole_reader: Vec<bool> = node.inputs.iter().map(|x| uses[x.index()] == 1).collect();
        simplify(out, node, inputs, &sole_reader)
    })
}

fn simplify<'g>(
    out: &mut Rewriter<'g>,
    node: &Node,
    x: &[Var<'g>],
    sole_reader: &[bool],
) -> Var<'g> {
    if let Some(var) = empty(out, node, x).or_else(|| constant(out, node, x)) {
        return var;
    }
    let inner: Vec<Node> = x.iter().map(|&v| out.op_of(v)).collect();
    match (&node.op, inner.as_slice()) {
        (Op::StopGradient, _) => return x[0],
        (Op::Cast(to), [n]) if n.meta.dtype == *to => return x[0],
        (Op::Reshape(r), [n]) => {
            if n.meta.shape == r.shape {
                return x[0];
            }
            if let Op::Reshape(_) = n.op {
                let base = out.graph.var(n.inputs[0]);
                return again(out, node, &node.op, &[base]);
            }
        }
        (Op::Expand(e), [n]) => {
            if n.meta.shape == e.shape {
                return x[0];
            }
            if let Op::Expand(_) = n.op {
                let base = out.graph.var(n.inputs[0]);
                return again(out, node, &Op::Expand(Expand { shape: e.shape }), &[base]);
            }
        }
        (Op::Permute(p), [n]) => {
            if p.axes.iter().enumerate().all(|(i, &a)| i == a) {
                return x[0];
            }
            if let Op::Permute(q) = &n.op {
                let axes = p.axes.iter().map(|&a| q.axes[a]).collect();
                let base = out.graph.var(n.inputs[0]);
                return again(out, node, &Op::Permute(Permute { axes }), &[base]);
            }
            // (A B)ᵀ = Bᵀ Aᵀ
            if let (Op::MatMul(m), true, true) = (&n.op, swaps_last_two(p), sole_reader[0]) {
                let [a, b] = [out.graph.var(n.inputs[0]), out.graph.var(n.inputs[1])];
                let turned = Op::MatMul(MatMul {
                    trans_a: !m.trans_b,
                    trans_b: !m.trans_a,
                });
                return again(out, node, &turned, &[b, a]);
            }
        }
        (Op::MatMul(m), [a, b]) => {
            let (fa, fb) = (transposed(out, a), transposed(out, b));
            if fa.is_some() || fb.is_some() {
                let op = MatMul {
                    trans_a: m.trans_a != fa.is_some(),
                    trans_b: m.trans_b != fb.is_some(),
                };
                return again(
                    out,
                    node,
                    &Op::MatMul(op),
                    &[fa.unwrap_or(x[0]), fb.unwrap_or(x[1])],
                );
            }
        }
        (Op::Slice(s), [n])
            if s.start.iter().all(|&i| i == 0) && n.meta.shape == node.meta.shape =>
        {
            return x[0];
        }
        (Op::Concat(_), [_]) => return x[0],
        (Op::Reduce(r), [n]) => {
            if r.axes.iter().all(|&a| n.meta.shape[a] == 1) {
                return x[0];
            }
            if let Op::Reduce(q) = &n.op
                && q.op == r.op
            {
                let mut axes = [r.axes.clone(), q.axes.clone()].concat();
                axes.sort_unstable();
                axes.dedup();
                let base = out.graph.var(n.inputs[0]);
                return again(out, node, &Op::Reduce(Reduce { op: r.op, axes }), &[base]);
            }
            // A sum over repeats is a multiple.
            if let (Reduction::Sum, Op::Expand(_), true) = (r.op, &n.op, n.meta.dtype.is_float()) {
                let base = out.graph.var(n.inputs[0]);
                let repeated = r.axes.iter().all(|&a| base.shape()[a] == 1);
                if repeated {
                    let count: usize = r.axes.iter().map(|&a| n.meta.shape[a]).product();
                    return base.expand(node.meta.shape) * count as f64;
                }
            }
        }
        (Op::Unary(Unary::Neg), [n]) => {
            if let Op::Unary(Unary::Neg) = n.op {
                return out.graph.var(n.inputs[0]);
            }
        }
        (Op::Binary(b), [l, r]) => {
            if let Some(var) = identity(out, node, *b, x, [l, r]) {
                return var;
            }
        }
        _ => {}
    }
    out.emit(node.op.clone(), x, node)
}

/// Emits a rewritten node and simplifies it once more.
fn again<'g>(out: &mut Rewriter<'g>, node: &Node, op: &Op, x: &[Var<'g>]) -> Var<'g> {
    let node = Node {
        op: op.clone(),
        ..node.clone()
    };
    simplify(out, &node, x, &vec![false; x.len()])
}

/// Nothing is computed of nothing: an empty result, or one made of an empty input, is a constant,
/// so that no kernel reads or writes an empty tensor.
fn empty<'g>(out: &mut Rewriter<'g>, node: &Node, x: &[Var<'g>]) -> Option<Var<'g>> {
    let is_empty = |v: &Var<'_>| v.shape().numel() == 0;
    if node.op.is_source() {
        return None;
    }
    let value = match &node.op {
        Op::Concat(_) if x.iter().any(is_empty) && node.meta.shape.numel() > 0 => {
            let rest: Vec<Var<'g>> = x.iter().copied().filter(|v| !is_empty(v)).collect();
            return Some(again(out, node, &node.op, &rest));
        }
        Op::Pad(pad) if is_empty(&x[0]) => pad.value,
        Op::Slide(slide) if is_empty(&x[0]) => slide.outside,
        Op::Reduce(r) if is_empty(&x[0]) => super::split::neutral(r.op, node.meta.dtype),
        _ if x.iter().any(is_empty) || node.meta.shape.numel() == 0 => {
            Scalar::zero(node.meta.dtype)
        }
        _ => return None,
    };
    let like = Node {
        inputs: Vec::new(),
        ..node.clone()
    };
    Some(out.emit(Op::Const(value), &[], &like))
}

/// A constant, if all inputs are.
fn constant<'g>(out: &mut Rewriter<'g>, node: &Node, x: &[Var<'g>]) -> Option<Var<'g>> {
    if x.is_empty() {
        return None;
    }
    let values: Option<Vec<Scalar>> = x
        .iter()
        .map(|&v| match out.op_of(v).op {
            Op::Const(value) => Some(value),
            _ => None,
        })
        .collect();
    let values = values?;
    let value = match &node.op {
        Op::Reshape(_) | Op::Expand(_) | Op::Permute(_) | Op::Slice(_) | Op::Flip(_) => {
            *values.first()?
        }
        Op::Pad(p) if values.first() == Some(&p.value) => p.value,
        Op::Slide(s) if values.first() == Some(&s.outside) => s.outside,
        op => fold::fold(op, &values)?,
    };
    let like = Node {
        inputs: Vec::new(),
        ..node.clone()
    };
    Some(out.emit(Op::Const(value), &[], &like))
}

/// `x + 0`, `x · 1`, `(x · c) · d` and their like.
fn identity<'g>(
    out: &mut Rewriter<'g>,
    node: &Node,
    op: Binary,
    x: &[Var<'g>],
    inner: [&Node; 2],
) -> Option<Var<'g>> {
    let value = |n: &Node| match n.op {
        Op::Const(Scalar::F32(v)) => Some(v),
        _ => None,
    };
    match (op, value(inner[0]), value(inner[1])) {
        // A constant stands on the right, so that chains meet.
        (Binary::Add | Binary::Mul, Some(_), None) => {
            Some(again(out, node, &node.op, &[x[1], x[0]]))
        }
        // −0 + 0 is 0, but no gradient and no loss tells the two apart.
        (Binary::Add | Binary::Sub, _, Some(0.0)) => Some(x[0]),
        (Binary::Mul | Binary::Div | Binary::Pow, _, Some(1.0)) => Some(x[0]),
        (Binary::Mul, _, Some(-1.0)) => Some(again(out, node, &Op::Unary(Unary::Neg), &[x[0]])),
        (Binary::Mul, _, Some(d)) => match &inner[0].op {
            Op::Binary(Binary::Mul) => {
                let [base, c] = [inner[0].inputs[0], inner[0].inputs[1]];
                let c = value(&out.graph.node(c))?;
                let like = Node {
                    inputs: Vec::new(),
                    ..node.clone()
                };
                let factor = out.emit(Op::Const(Scalar::F32(c * d)), &[], &like);
                Some(again(out, node, &node.op, &[out.graph.var(base), factor]))
            }
            _ => None,
        },
        _ => None,
    }
}

fn swaps_last_two(p: &Permute) -> bool {
    let rank = p.axes.len();
    rank >= 2
        && p.axes[..rank - 2].iter().enumerate().all(|(i, &a)| i == a)
        && p.axes[rank - 2] == rank - 1
}

/// What a matmul operand is the transposition of.
fn transposed<'g>(out: &Rewriter<'g>, node: &Node) -> Option<Var<'g>> {
    match &node.op {
        Op::Permute(p) if swaps_last_two(p) => Some(out.graph.var(node.inputs[0])),
        _ => None,
    }
}
