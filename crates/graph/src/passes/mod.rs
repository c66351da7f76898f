//! Passes: rewrites of the whole graph before it is cut into kernels.
//!
//! Each pass reads nodes and roots and makes new ones. Only what the roots need survives, so
//! dead code goes at every pass.

pub(crate) mod cut;
mod expand;
mod fold;
pub(crate) mod large;
pub(crate) mod recompute;
mod scan;
mod simplify;
pub(crate) mod sort;
pub(crate) mod split;

pub(crate) use split::partial;

use std::collections::BTreeMap;

use crate::ops::Op;
use crate::{Graph, Node, NodeId, Target, Var};

/// Nodes in topological order, with the ids of those whose results are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ir {
    pub(crate) nodes: Vec<Node>,
    pub(crate) paths: Vec<String>,
    pub(crate) roots: Vec<NodeId>,
}

impl Ir {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub(crate) fn of(graph: &Graph, roots: Vec<NodeId>) -> Self {
        Self {
            nodes: graph.nodes(),
            paths: graph.paths(),
            roots,
        }
    }

    /// The layer path of a node.
    pub(crate) fn path(&self, id: NodeId) -> &str {
        self.paths
            .get(self.node(id).path as usize)
            .map_or("", String::as_str)
    }

    /// For each node: do the roots need it?
    pub(crate) fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for root in &self.roots {
            live[root.index()] = true;
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if live[i] {
                node.inputs.iter().for_each(|x| live[x.index()] = true);
            }
        }
        live
    }

    /// Number of reads of each node by live nodes and roots.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let live = self.live();
        let mut uses = vec![0; self.nodes.len()];
        for (node, _) in self.nodes.iter().zip(&live).filter(|(_, l)| **l) {
            node.inputs.iter().for_each(|x| uses[x.index()] += 1);
        }
        self.roots.iter().for_each(|r| uses[r.index()] += 1);
        uses
    }

    /// Rewrites live nodes one by one into a new graph in which equal nodes are one.
    fn rewrite(
        &self,
        rule: impl for<'g> Fn(&mut Rewriter<'g>, &Node, &[Var<'g>]) -> Var<'g>,
    ) -> Self {
        let graph = Graph::new();
        let mut rewriter = Rewriter {
            graph: &graph,
            known: BTreeMap::new(),
        };
        let mut map: Vec<Option<Var<'_>>> = vec![None; self.nodes.len()];
        let live = self.live();
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| live[*i]) {
            let inputs: Vec<Var<'_>> = node.inputs.iter().filter_map(|x| map[x.index()]).collect();
            let path = self
                .paths
                .get(node.path as usize)
                .map_or("", String::as_str);
            let made = || graph.within(path, None, || rule(&mut rewriter, node, &inputs));
            map[i] = Some(graph.within_part(node.part, made));
        }
        let roots = self
            .roots
            .iter()
            .filter_map(|r| map[r.index()])
            .map(|v| v.id())
            .collect();
        Self::of(&graph, roots)
    }
}

/// Builds the result of a pass; equal nodes are made once.
struct Rewriter<'g> {
    graph: &'g Graph,
    known: BTreeMap<String, NodeId>,
}

impl<'g> Rewriter<'g> {
    /// A node like `like` with another op and inputs, or the one that is equal to it.
    fn emit(&mut self, op: Op, inputs: &[Var<'g>], like: &Node) -> Var<'g> {
        let ids: Vec<u32> = inputs.iter().map(|v| v.id().0).collect();
        let key = match &op {
            // Printing a large array would cost more than the array.
            Op::Literal(array) => format!("literal {:p}", std::sync::Arc::as_ptr(array)),
            op if op.is_source() => format!("{op:?} {:?}", like.meta),
            op => format!("{op:?} {ids:?}"),
        };
        if let Some(&id) = self.known.get(&key) {
            return self.graph.var(id);
        }
        let var = if op.is_source() {
            self.graph.push(op, Vec::new(), like.meta)
        } else {
            self.graph.apply(op, inputs)
        };
        self.known.insert(key, var.id());
        var
    }

    fn op_of(&self, v: Var<'g>) -> Node {
        self.graph.node(v.id())
    }
}

/// All passes, in order.
pub(crate) fn run(ir: Ir, target: &Target) -> Ir {
    let mut ir = expand::run(ir, target);
    ir = large::run(&ir, target);
    ir = simplify::run(&ir);
    ir = sort::run(&ir, target);
    ir = scan::run(&ir, target);
    ir = split::run(&ir, target);
    simplify::run(&ir)
}
