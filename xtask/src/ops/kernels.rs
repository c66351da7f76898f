//! What the planner makes of an example.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use gradus_graph::ops::{Meta, Op};
use gradus_graph::plan::{KernelKind, Request, SlabLayout, lower};
use gradus_graph::{DType, Graph, Node, NodeId, Scalar, Target, Var, vjp};

use super::examples::Example;
use crate::plan::targets;

/// What is said about an example.
pub(super) struct Found {
    /// The op's node.
    pub(super) op: Op,
    /// Shapes and dtypes of its inputs.
    pub(super) inputs: Vec<Meta>,
    pub(super) result: Meta,
    /// Kernels of the example, by target.
    pub(super) forward: String,
    /// Kernels of the example and of its gradients; `None` without.
    pub(super) backward: Option<String>,
}

impl Found {
    /// The op for first inputs of this dtype: a constant in it has that, too.
    pub(super) fn op_for(&self, dtype: DType) -> Op {
        let mut op = self.op.clone();
        match &mut op {
            Op::Pad(pad) => pad.value = Scalar::zero(dtype),
            Op::Slide(slide) => slide.outside = Scalar::zero(dtype),
            _ => {}
        }
        op
    }
}

/// Plans an example for every target.
pub(super) fn of(example: &Example) -> Result<Found> {
    let graph = Graph::new();
    let y = (example.build)(&graph);
    graph.check().context(example.name)?;
    let nodes = graph.nodes();
    let node = nodes.iter().find(|n| n.op.name() == example.name);
    let node = node.with_context(|| format!("no `{}` in its example", example.name))?;
    let input = |id: &NodeId| nodes.get(id.index()).map(|n| n.meta);
    let forward = planned(&graph, &[y])?;
    let backward = gradients(&graph, y, &nodes)
        .map(|gradients| planned(&graph, &[&[y], &gradients[..]].concat()))
        .transpose()?;
    Ok(Found {
        op: node.op.clone(),
        inputs: node.inputs.iter().filter_map(input).collect(),
        result: node.meta,
        forward,
        backward,
    })
}

/// The gradients of all float inputs; `None` if the result has none.
fn gradients<'g>(graph: &'g Graph, y: Var<'g>, nodes: &[Node]) -> Option<Vec<Var<'g>>> {
    let is_float = |node: &Node| matches!(node.op, Op::Input(_)) && node.meta.dtype.is_float();
    let floats = (0u32..).zip(nodes).filter(|(_, node)| is_float(node));
    let inputs: Vec<Var<'g>> = floats.map(|(i, _)| graph.var(NodeId(i))).collect();
    if !y.dtype().is_float() {
        return None;
    }
    let dy = graph.input("dy", y.shape(), DType::F32);
    let gradients: Vec<Var<'g>> = vjp(y, dy, &inputs).into_iter().flatten().collect();
    (!gradients.is_empty()).then_some(gradients)
}

/// The kinds of kernels that compute these values, by the classes of targets that agree.
fn planned(graph: &Graph, values: &[Var<'_>]) -> Result<String> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for target in targets() {
        let kernels = kinds(graph, values, &target)?;
        match found.iter_mut().find(|(k, _)| *k == kernels) {
            Some((_, names)) => names.push(target.name),
            None => found.push((kernels, vec![target.name])),
        }
    }
    if let [(kernels, _)] = &found[..] {
        return Ok(format!("{kernels} everywhere"));
    }
    let each = found
        .into_iter()
        .map(|(kernels, names)| format!("{kernels} on {}", names.join(", ")));
    Ok(each.collect::<Vec<_>>().join("; "))
}

fn kinds(graph: &Graph, values: &[Var<'_>], target: &Target) -> Result<String> {
    let outputs = (0..).zip(values);
    let plan = lower(&Request {
        outputs: outputs.map(|(i, &v)| (format!("{i}"), v)).collect(),
        ..Request::new("example", graph, SlabLayout::new(&[], target)?, target)
    })?;
    let kinds = plan.kernels.iter().map(|k| kind(&k.kind));
    // How many there are changes with every change of the planner.
    let kinds: BTreeSet<&str> = kinds.collect();
    let kinds: Vec<String> = kinds.into_iter().map(|k| format!("`{k}`")).collect();
    Ok(kinds.join(", "))
}

const fn kind(kind: &KernelKind) -> &'static str {
    match kind {
        KernelKind::Program(_) => "program",
        KernelKind::MatMul(_) => "matmul",
        KernelKind::Conv(_) => "conv",
        KernelKind::Attention(_) => "attention",
        KernelKind::Scatter(_) => "scatter",
        KernelKind::Scan(_) => "scan",
        KernelKind::Sort(_) => "sort",
        KernelKind::Update(_) => "slice_update",
        KernelKind::Take(_) => "take",
    }
}
