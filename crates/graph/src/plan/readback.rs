//! Read-backs: a scalar as `scale · Σ vector`, so that the host does the last sum.

use crate::ops::{Binary, Op, Reduction, Unary};
use crate::passes::partial;
use crate::{NodeId, Scalar, Var};

/// Elements that the host sums for one read-back, at most.
const LONG: usize = 4096;

/// The vector and the factor of a scalar.
pub(super) fn vector(scalar: Var<'_>) -> (Var<'_>, f64) {
    if scalar.is_poisoned() {
        return (scalar, 1.0);
    }
    let graph = scalar.graph();
    let (mut var, mut scale) = (scalar, 1.0);
    loop {
        let node = graph.node(var.id());
        let input = |i: usize| graph.var(node.inputs.get(i).copied().unwrap_or(NodeId::POISON));
        match &node.op {
            Op::Reshape(_) | Op::StopGradient => var = input(0),
            Op::Unary(Unary::Neg) => (var, scale) = (input(0), -scale),
            Op::Binary(Binary::Mul) => match (constant(input(0)), constant(input(1))) {
                (_, Some(c)) => (var, scale) = (input(0), scale * c),
                (Some(c), _) => (var, scale) = (input(1), scale * c),
                _ => return (var, scale),
            },
            Op::Binary(Binary::Div) => match constant(input(1)) {
                Some(c) => (var, scale) = (input(0), scale / c),
                None => return (var, scale),
            },
            Op::Reduce(r) if r.op == Reduction::Sum && var.shape().numel() == 1 => {
                return (shortened(input(0)), scale);
            }
            _ => return (var, scale),
        }
    }
}

/// The same sum over fewer elements: one for each sample, or for each part.
fn shortened(x: Var<'_>) -> Var<'_> {
    let n = x.shape().numel();
    if n <= LONG {
        return x;
    }
    if x.rank() > 1 && x.dim(0) <= LONG {
        return x.flatten(1).sum(&[1]);
    }
    partial(x.reshape([1, n]), Reduction::Sum)
}

/// The number that a value is everywhere.
fn constant(var: Var<'_>) -> Option<f64> {
    let graph = var.graph();
    let mut node = graph.node(var.id());
    while let Op::Reshape(_) | Op::Expand(_) = node.op {
        node = graph.node(*node.inputs.first()?);
    }
    match node.op {
        Op::Const(Scalar::F32(v)) => Some(v),
        _ => None,
    }
}
