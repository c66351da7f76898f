//! Reverse-mode differentiation: adds the backward nodes to the graph.

use std::collections::BTreeMap;

use crate::{DType, NodeId, Part, Var};

/// The gradients of the scalar `loss` with respect to each of `wrt`, as nodes of the same graph,
/// so that gradients of gradients work. Zero where `loss` does not depend on it. Where one of `wrt`
/// depends on another, its gradient includes the way through the other.
#[track_caller]
pub fn grad<'g>(loss: Var<'g>, wrt: &[Var<'g>]) -> Vec<Var<'g>> {
    let graph = loss.graph();
    if loss.rank() != 0 || loss.dtype() != DType::F32 {
        let message = format!("the loss must be an f32 scalar, found {loss:?}; take its mean");
        let poison = graph.fail("grad", message);
        return vec![poison; wrt.len()];
    }
    graph.within_part(Part::Backward, || {
        let gradients = backward(loss, graph.scalar(1.0), wrt, true);
        let zeros = |w: &Var<'g>| graph.full(w.shape(), 0.0);
        wrt.iter()
            .zip(gradients)
            .map(|(w, g)| g.unwrap_or_else(|| zeros(w)))
            .collect()
    })
}

/// The vector-Jacobian products of `y` with the cotangent `dy` for each of `wrt`; `None` where
/// `y` does not depend on it. Where one of `wrt` depends on another they count as independent:
/// these are partial derivatives, as the rule of a composite needs them.
pub fn vjp<'g>(y: Var<'g>, dy: Var<'g>, wrt: &[Var<'g>]) -> Vec<Option<Var<'g>>> {
    let graph = y.graph();
    graph.within_part(Part::Backward, || backward(y, dy, wrt, false))
}

/// `through`: do gradients flow on through the nodes in `wrt`?
fn backward<'g>(y: Var<'g>, dy: Var<'g>, wrt: &[Var<'g>], through: bool) -> Vec<Option<Var<'g>>> {
    if y.is_poisoned() || dy.is_poisoned() {
        return vec![None; wrt.len()];
    }
    let graph = y.graph();
    let first = wrt
        .iter()
        .filter(|v| !v.is_poisoned())
        .map(|v| v.id())
        .min();
    let Some(first) = first else {
        return vec![None; wrt.len()];
    };
    // Only nodes between `wrt` and `y` can carry a gradient.
    let depends = reach(graph, first, y.id(), wrt);
    let mut gradients: BTreeMap<NodeId, Var<'g>> = BTreeMap::from([(y.id(), dy)]);
    for id in (first.0..=y.id().0).rev().map(NodeId) {
        let stops = !through && wrt.iter().any(|w| w.id() == id);
        if !depends[(id.0 - first.0) as usize] || stops {
            continue;
        }
        let Some(&dy) = gradients.get(&id) else {
            continue;
        };
        let node = graph.node(id);
        let inputs: Vec<Var<'g>> = node.inputs.iter().map(|&i| graph.var(i)).collect();
        let parts = graph.within_path(node.path, None, || node.op.vjp(&inputs, graph.var(id), dy));
        for (x, dx) in inputs.iter().zip(parts) {
            let wanted = x.id() >= first && depends[(x.id().0 - first.0) as usize];
            let (Some(dx), true) = (dx, wanted && x.dtype() == DType::F32) else {
                continue;
            };
            graph.within_path(node.path, None, || {
                gradients
                    .entry(x.id())
                    .and_modify(|sum| *sum = *sum + dx)
                    .or_insert(dx);
            });
        }
    }
    wrt.iter()
        .map(|w| gradients.get(&w.id()).copied())
        .collect()
}

/// For each node from `first` to `last`: does it depend on one of `wrt`?
fn reach(graph: &crate::Graph, first: NodeId, last: NodeId, wrt: &[Var<'_>]) -> Vec<bool> {
    let inner = graph.inner.borrow();
    let mut depends = vec![false; (last.0 + 1).saturating_sub(first.0) as usize];
    for (i, id) in (first.0..=last.0).enumerate() {
        let node = &inner.nodes[id as usize];
        depends[i] = wrt.iter().any(|w| w.id().0 == id)
            || node
                .inputs
                .iter()
                .any(|x| *x >= first && depends[(x.0 - first.0) as usize]);
    }
    depends
}
