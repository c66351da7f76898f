//! Clustering: which nodes are computed together in one kernel, and which are stored.
//!
//! - Input: nodes after the passes, and what must be in memory (roots).
//! - Output: a cluster for every node that computes, and the set of stored nodes. A node that
//!   is neither stored nor in a cluster that needs it is computed again where it is read.
//!
//! Every computing node starts as a cluster of its own; clusters that exchange values are merged
//! while the result is still one loop nest: the same iteration space ([`Domain`]), at most one
//! matrix product, at its beginning, and no way out of the cluster and back into it. Links are
//! tried from the last reader backwards, so that a mask joins the gradient that uses it rather
//! than the layer it was made from.
//!
//! Sources that need no memory (constants, positions, random bits) and what is made only of
//! them belong to no cluster: they are made again in every kernel that reads them.

use std::collections::BTreeSet;

use super::domain::Domain;
use super::view::{Source, source};
use crate::ops::{Op, Reduction};
use crate::passes::Ir;
use crate::{Index, Node, NodeId, Shape, Target};

/// Operations beyond which a value is stored rather than computed again.
const CHEAP: usize = 24;

/// The same for a value that is read several times.
const CHEAP_BROADCAST: usize = 3;

/// Elements of a vector in memory that every reader of their sum may sum for itself.
const SHORT_TOTAL: usize = 4096;

/// Terms in a row beyond which a kernel that reduces rows does not also write them.
const LONG_ROW: usize = 1 << 17;

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeSet<NodeId>,
    pub(crate) domain: Domain,
    /// The matrix product this cluster is the epilogue of.
    pub(crate) matmul: Option<NodeId>,
    /// A sum over the rows of the product's left operand that is computed beside it.
    pub(crate) row_sum: Option<NodeId>,
    alone: bool,
}

#[derive(Debug)]
pub(crate) struct Clusters<'a> {
    ir: &'a Ir,
    /// Views and sources that must be in memory, and are copied there.
    copies: BTreeSet<NodeId>,
    /// Results that must be in memory.
    pub(crate) stored: BTreeSet<NodeId>,
    /// What kernels load: memory leaves and stored values.
    pub(crate) loaded: BTreeSet<NodeId>,
    /// The cluster of each node.
    pub(crate) of: Vec<Option<usize>>,
    pub(crate) list: Vec<Cluster>,
    virtual_nodes: Vec<bool>,
    roots: BTreeSet<NodeId>,
}

/// Leaves that lie in memory before the step.
pub(crate) fn is_memory(op: &Op) -> bool {
    matches!(
        op,
        Op::Input(_) | Op::Param(_) | Op::State(_) | Op::Literal(_)
    )
}

impl<'a> Clusters<'a> {
    pub(crate) fn new(ir: &'a Ir, target: &Target) -> Self {
        let mut clusters = Self {
            ir,
            copies: BTreeSet::new(),
            stored: BTreeSet::new(),
            loaded: BTreeSet::new(),
            of: vec![None; ir.nodes.len()],
            list: Vec::new(),
            virtual_nodes: virtual_nodes(ir),
            roots: ir.roots.iter().map(|&r| strip(ir, r)).collect(),
        };
        clusters.require_operands();
        clusters.start();
        clusters.attach_row_sums();
        clusters.merge_all(target);
        clusters.decide_stores(target);
        clusters.keep_needed();
        clusters
    }

    fn node(&self, id: NodeId) -> &'a Node {
        self.ir.node(id)
    }

    /// True for nodes that compute: members of clusters.
    fn computes(&self, id: NodeId) -> bool {
        let op = &self.node(id).op;
        self.copies.contains(&id)
            || !(op.is_source() || op.is_view() || self.virtual_nodes[id.index()])
    }

    /// What a reader of this value loads: memory leaves, stored values, or what it must compute.
    pub(crate) fn is_loaded(&self, id: NodeId, cluster: usize) -> bool {
        is_memory(&self.node(id).op)
            || (self.stored.contains(&id) && self.of[id.index()] != Some(cluster))
    }

    /// Is this the sum of a short vector in memory? Every kernel that needs it sums it again.
    pub(crate) fn is_total(&self, id: NodeId) -> bool {
        matches!(self.node(id).op, Op::Reduce(_)) && self.virtual_nodes[id.index()]
    }

    /// Roots and operands that kernels can only read from memory.
    fn require_operands(&mut self) {
        for root in self.roots.clone() {
            self.require(root);
        }
        let live = self.ir.live();
        for (i, node) in self.ir.nodes.iter().enumerate().filter(|(i, _)| live[*i]) {
            match node.op {
                Op::MatMul(_) => {
                    for &x in &node.inputs {
                        let base = super::operand::matrix(self.ir, x).map_or(x, |m| m.base);
                        self.require(base);
                    }
                }
                Op::ScatterAdd(_) => {
                    for &x in &node.inputs {
                        self.require(strip(self.ir, x));
                    }
                    self.require(NodeId(u32::try_from(i).unwrap_or(u32::MAX)));
                }
                Op::Gather(_) => self.require(strip(self.ir, node.inputs[0])),
                _ => {}
            }
        }
    }

    fn require(&mut self, id: NodeId) {
        if is_memory(&self.node(id).op) {
            return;
        }
        let op = &self.node(id).op;
        if op.is_view() || op.is_source() || self.virtual_nodes[id.index()] {
            self.copies.insert(id);
        }
        self.stored.insert(id);
    }

    /// One cluster for every node that computes.
    fn start(&mut self) {
        for (i, live) in self.ir.live().into_iter().enumerate() {
            let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
            if !live || !self.computes(id) {
                continue;
            }
            let node = self.node(id);
            let shape_of = |i: usize| self.node(node.inputs[i]).meta.shape;
            let shape = node.meta.shape;
            let domain = match &node.op {
                Op::MatMul(_) => Domain::pointwise(&product_axes(&shape)),
                Op::Reduce(r) if !self.is_total(id) => Domain::reducing(&shape_of(0), &r.axes),
                Op::ArgReduce(r) => Domain::reducing(&shape_of(0), &[r.axis]),
                _ => Domain::pointwise(&shape),
            };
            self.of[i] = Some(self.list.len());
            self.list.push(Cluster {
                nodes: BTreeSet::from([id]),
                domain,
                matmul: matches!(node.op, Op::MatMul(_)).then_some(id),
                row_sum: None,
                alone: matches!(node.op, Op::ScatterAdd(_)),
            });
        }
    }

    /// A bias gradient sums the same rows that the weight gradient's product reads.
    fn attach_row_sums(&mut self) {
        for i in 0..self.list.len() {
            let Some(product) = self.list[i].matmul else {
                continue;
            };
            let node = self.node(product);
            let Op::MatMul(op) = &node.op else { continue };
            let (a, shape) = (node.inputs[0], node.meta.shape);
            let one_batch = shape[..shape.rank() - 2].iter().all(|&d| d == 1);
            if !(op.trans_a && one_batch) {
                continue;
            }
            let (base, m) = (strip(self.ir, a), shape[shape.rank() - 2]);
            let k = self.node(a).meta.shape[shape.rank() - 2];
            let sums = (0..self.list.len()).find(|&j| {
                self.list[j]
                    .nodes
                    .iter()
                    .any(|&n| self.is_row_sum(n, base, k, m))
                    && self.list[j].nodes.len() == 1
            });
            if let Some(j) = sums {
                let sum = self.list[j].nodes.pop_first();
                self.list[i].row_sum = sum;
                if let Some(sum) = sum {
                    self.of[sum.index()] = Some(i);
                    self.stored.insert(sum);
                }
            }
        }
    }

    /// Is this a sum over the leading `k` of the `[k, m]` elements of `base`?
    fn is_row_sum(&self, id: NodeId, base: NodeId, k: usize, m: usize) -> bool {
        let node = self.node(id);
        let Op::Reduce(r) = &node.op else {
            return false;
        };
        let x = node.inputs[0];
        let shape = self.node(x).meta.shape;
        let leading = r.axes.iter().enumerate().all(|(i, &a)| i == a);
        let terms: usize = r.axes.iter().map(|&a| shape[a]).product();
        r.op == Reduction::Sum
            && leading
            && terms == k
            && shape.numel() == k * m
            && strip(self.ir, x) == base
    }

    /// The computing nodes whose values `reader` needs, with the shape of the path between.
    fn producers(&self, reader: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut stack = self.fused_inputs(reader);
        while let Some(id) = stack.pop() {
            if self.computes(id) {
                found.push(id);
            } else if !is_memory(&self.node(id).op) {
                stack.extend(self.node(id).inputs.iter().copied());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The inputs that a node can read from registers.
    fn fused_inputs(&self, id: NodeId) -> Vec<NodeId> {
        let node = self.node(id);
        match &node.op {
            Op::MatMul(_) | Op::ScatterAdd(_) => Vec::new(),
            Op::Gather(_) => vec![node.inputs[1]],
            _ => node.inputs.clone(),
        }
    }

    /// Everything a node reads, computed or in memory, through views.
    fn sources(&self, id: NodeId) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        let mut stack = self.node(id).inputs.clone();
        while let Some(id) = stack.pop() {
            if self.computes(id) || is_memory(&self.node(id).op) {
                found.insert(id);
            } else {
                stack.extend(self.node(id).inputs.iter().copied());
            }
        }
        found
    }

    fn merge_all(&mut self, target: &Target) {
        let members: Vec<NodeId> = self
            .list
            .iter()
            .flat_map(|c| c.nodes.iter().copied())
            .collect();
        let mut links: Vec<(NodeId, NodeId)> = members
            .iter()
            .flat_map(|&reader| self.producers(reader).into_iter().map(move |p| (reader, p)))
            .collect();
        links.sort_unstable_by(|a, b| b.cmp(a));
        loop {
            let mut merged = false;
            for &(reader, producer) in &links {
                let (Some(c), Some(p)) = (self.of[reader.index()], self.of[producer.index()])
                else {
                    continue;
                };
                if c != p && self.try_merge(p, c, target) {
                    merged = true;
                }
            }
            if !merged {
                return;
            }
        }
    }

    /// Merges cluster `p`, which makes values, into `c`, which reads them, if one kernel can
    /// compute both.
    fn try_merge(&mut self, p: usize, c: usize, target: &Target) -> bool {
        let (producer, reader) = (&self.list[p], &self.list[c]);
        if producer.alone || reader.alone || reader.matmul.is_some() && producer.matmul.is_some() {
            return false;
        }
        let first = if reader.matmul.is_some() {
            reader
        } else {
            producer
        };
        let second = if reader.matmul.is_some() {
            producer
        } else {
            reader
        };
        let Some(domain) = first.domain.unify(&second.domain) else {
            return false;
        };
        let nodes: BTreeSet<NodeId> = producer.nodes.union(&reader.nodes).copied().collect();
        let matmul = producer.matmul.or(reader.matmul);
        if let Some(product) = matmul
            && (!domain.is_pointwise() || self.sources(product).iter().any(|s| nodes.contains(s)))
        {
            return false;
        }
        if !domain.is_pointwise()
            && domain.numel() / domain.rows().max(1) > LONG_ROW
            && nodes
                .iter()
                .any(|n| self.node(*n).meta.shape.numel() == domain.numel())
        {
            return false;
        }
        let row_sum = producer.row_sum.or(reader.row_sum);
        if !nodes.iter().all(|&n| self.aligned(n, &nodes, &domain))
            || self.operands(&nodes, row_sum) > target.max_bindings - 1
            || self.leaves_and_returns(p, c)
        {
            return false;
        }
        self.list[c] = Cluster {
            nodes,
            domain,
            matmul,
            row_sum,
            alone: false,
        };
        self.list[p].nodes.clear();
        for &n in self.list[c].nodes.iter().chain(&row_sum) {
            self.of[n.index()] = Some(c);
        }
        true
    }

    /// In this domain, does the node read every other node of the set at the same position?
    fn aligned(&self, id: NodeId, nodes: &BTreeSet<NodeId>, domain: &Domain) -> bool {
        let node = self.node(id);
        let sizes = domain.sizes();
        let Some(at) = domain.coordinates_of(&node.meta.shape) else {
            return false;
        };
        let reduced_axes = match &node.op {
            Op::Reduce(r) => Some(r.axes.clone()),
            Op::ArgReduce(r) => Some(vec![r.axis]),
            _ => None,
        };
        if self.copies.contains(&id) {
            return self.aligned_through(id, at, nodes, domain, &sizes);
        }
        self.fused_inputs(id).into_iter().all(|x| {
            let shape = self.node(x).meta.shape;
            let at = match &reduced_axes {
                Some(axes) if !domain.reduces(&shape, axes) => return false,
                Some(_) => domain.full_coordinates(&shape),
                None if matches!(node.op, Op::Gather(_)) => at[..shape.rank()].to_vec(),
                None => at.clone(),
            };
            self.aligned_at(x, at, nodes, domain, &sizes)
        })
    }

    fn aligned_at(
        &self,
        id: NodeId,
        at: Vec<Index>,
        nodes: &BTreeSet<NodeId>,
        domain: &Domain,
        sizes: &[usize],
    ) -> bool {
        if self.computes(id) {
            return !nodes.contains(&id)
                || domain.coordinates_of(&self.node(id).meta.shape) == Some(at);
        }
        if self.node(id).op.is_source() || self.virtual_nodes[id.index()] {
            return true;
        }
        self.aligned_through(id, at, nodes, domain, sizes)
    }

    fn aligned_through(
        &self,
        id: NodeId,
        at: Vec<Index>,
        nodes: &BTreeSet<NodeId>,
        domain: &Domain,
        sizes: &[usize],
    ) -> bool {
        let node = self.node(id);
        let shapes: Vec<Shape> = node
            .inputs
            .iter()
            .map(|&x| self.node(x).meta.shape)
            .collect();
        match source(node, &shapes, &at, sizes) {
            Some(Source::At(inner)) => self.aligned_at(node.inputs[0], inner, nodes, domain, sizes),
            // Guarded values are read from memory or computed again, never shared.
            Some(Source::Padded(..) | Source::Joined(_)) => {
                !self.sources(id).iter().any(|s| nodes.contains(s))
            }
            None => true,
        }
    }

    /// Tensors that a kernel over these nodes binds, at most.
    fn operands(&self, nodes: &BTreeSet<NodeId>, row_sum: Option<NodeId>) -> usize {
        let read: BTreeSet<NodeId> = nodes
            .iter()
            .flat_map(|&n| self.sources(n))
            .filter(|s| !nodes.contains(s))
            .collect();
        let written = nodes.iter().filter(|&&n| {
            self.stored.contains(&n) || self.readers(n).iter().any(|r| !nodes.contains(r))
        });
        let checks = nodes
            .iter()
            .any(|&n| matches!(self.node(n).op, Op::CheckIndex { .. }));
        read.len() + written.count() + usize::from(checks) + usize::from(row_sum.is_some())
    }

    /// The computing nodes that read this one, through views.
    fn readers(&self, id: NodeId) -> Vec<NodeId> {
        let live = self
            .list
            .iter()
            .flat_map(|c| c.nodes.iter().chain(&c.row_sum));
        live.copied()
            .filter(|&r| r > id && self.sources(r).contains(&id))
            .collect()
    }

    /// Is there a way from `p` through other clusters into `c`?
    fn leaves_and_returns(&self, p: usize, c: usize) -> bool {
        // Walk back from what `c` reads outside of both; reaching `p` closes a cycle. The same
        // the other way round: `p` may not read, through others, what `c` makes.
        self.reaches(c, p) || self.reaches(p, c)
    }

    /// Does `from`, walking back through clusters other than `to` itself at the first step,
    /// arrive at `to`?
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut seen = BTreeSet::from([from]);
        let mut stack: Vec<usize> = self
            .reads_from(from)
            .into_iter()
            .filter(|&k| k != to && k != from)
            .collect();
        while let Some(k) = stack.pop() {
            if k == to {
                return true;
            }
            if seen.insert(k) {
                stack.extend(self.reads_from(k));
            }
        }
        false
    }

    /// The clusters whose values this one reads.
    fn reads_from(&self, cluster: usize) -> BTreeSet<usize> {
        let c = &self.list[cluster];
        let nodes = c.nodes.iter().chain(&c.row_sum);
        let read = nodes
            .flat_map(|&n| self.sources(n))
            .filter_map(|s| self.of[s.index()]);
        read.filter(|&k| k != cluster).collect()
    }

    /// What crosses from one cluster to another is stored, unless computing it again moves
    /// fewer bytes.
    fn decide_stores(&mut self, target: &Target) {
        let order: Vec<NodeId> = {
            let mut all: Vec<NodeId> = self
                .list
                .iter()
                .flat_map(|c| c.nodes.iter().copied())
                .collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all
        };
        // Results of products and reductions first: they are what others are computed from.
        for &id in &order {
            let anchor = matches!(
                self.node(id).op,
                Op::MatMul(_) | Op::Reduce(_) | Op::ArgReduce(_) | Op::ScatterAdd(_)
            );
            if anchor && !self.foreign_readers(id).is_empty() {
                self.stored.insert(id);
            }
        }
        for &id in &order {
            let readers = self.foreign_readers(id);
            if readers.is_empty() || self.stored.contains(&id) {
                continue;
            }
            if self.recompute_is_cheaper(id, &readers, target) {
                // Its sources become what the readers load.
                for leaf in self.cone(id).1 {
                    if !is_memory(&self.node(leaf).op) {
                        self.stored.insert(leaf);
                    }
                }
            } else {
                self.stored.insert(id);
            }
        }
    }

    /// Keeps as stored what is reached from the roots, and notes what is loaded.
    fn keep_needed(&mut self) {
        let mut needed = BTreeSet::new();
        let mut work: Vec<NodeId> = self
            .roots
            .iter()
            .copied()
            .filter(|&r| !is_memory(&self.node(r).op))
            .collect();
        while let Some(id) = work.pop() {
            if !needed.insert(id) {
                continue;
            }
            let Some(cluster) = self.of[id.index()] else {
                continue;
            };
            let mut seen = BTreeSet::new();
            let mut stack = vec![id];
            while let Some(n) = stack.pop() {
                if !seen.insert(n) {
                    continue;
                }
                if n != id && self.is_loaded(n, cluster) {
                    self.loaded.insert(n);
                    if !is_memory(&self.node(n).op) {
                        work.push(n);
                    }
                } else {
                    stack.extend(self.direct_inputs(n));
                }
            }
        }
        self.stored = needed;
    }

    /// The inputs of a node, with those that are read from memory as what lies there.
    fn direct_inputs(&self, id: NodeId) -> Vec<NodeId> {
        let node = self.node(id);
        let x = |i: usize| node.inputs[i];
        match &node.op {
            Op::MatMul(_) => {
                let base = |x| super::operand::matrix(self.ir, x).map_or(x, |m| m.base);
                vec![base(x(0)), base(x(1))]
            }
            Op::ScatterAdd(_) => vec![strip(self.ir, x(0)), strip(self.ir, x(1))],
            Op::Gather(_) => vec![strip(self.ir, x(0)), x(1)],
            _ => node.inputs.clone(),
        }
    }

    /// Clusters other than its own that read a node, directly or by computing again what is
    /// made of it.
    fn foreign_readers(&self, id: NodeId) -> BTreeSet<usize> {
        let own = self.of[id.index()];
        self.readers(id)
            .into_iter()
            .filter_map(|r| self.of[r.index()])
            .filter(|&k| Some(k) != own)
            .collect()
    }

    /// The operations and leaves from which a node can be computed again.
    fn cone(&self, id: NodeId) -> (usize, BTreeSet<NodeId>) {
        let (mut cost, mut leaves) = (0, BTreeSet::new());
        let mut seen = BTreeSet::new();
        let mut stack = vec![id];
        while let Some(n) = stack.pop() {
            if !seen.insert(n) {
                continue;
            }
            let node = self.node(n);
            let anchor = !self.is_total(n)
                && matches!(
                    node.op,
                    Op::MatMul(_)
                        | Op::Reduce(_)
                        | Op::ArgReduce(_)
                        | Op::ScatterAdd(_)
                        | Op::Gather(_)
                        | Op::CheckIndex { .. }
                );
            if is_memory(&node.op) || (n != id && (self.stored.contains(&n) || anchor)) {
                leaves.insert(n);
            } else if anchor {
                return (usize::MAX, leaves);
            } else {
                cost += usize::from(!node.op.is_view() && !node.op.is_source());
                stack.extend(node.inputs.iter().copied());
            }
        }
        (cost, leaves)
    }

    fn recompute_is_cheaper(&self, id: NodeId, readers: &BTreeSet<usize>, target: &Target) -> bool {
        let (cost, leaves) = self.cone(id);
        if cost > CHEAP {
            return false;
        }
        let bytes = |n: NodeId| self.node(n).meta.bytes();
        let mut again = 0;
        for leaf in &leaves {
            if !is_memory(&self.node(*leaf).op) && !self.stored.contains(leaf) {
                again += bytes(*leaf);
            }
        }
        for &reader in readers {
            let Cluster { nodes, domain, .. } = &self.list[reader];
            let numel = self.node(id).meta.shape.numel();
            if domain.numel() > numel && domain.rows() != numel && cost > CHEAP_BROADCAST {
                return false;
            }
            let reads: BTreeSet<NodeId> = nodes.iter().flat_map(|&n| self.sources(n)).collect();
            let new = leaves.iter().filter(|l| !reads.contains(l));
            again += new.clone().map(|&l| bytes(l)).sum::<usize>();
            if self.operands(nodes, None) + new.count() > target.max_bindings {
                return false;
            }
        }
        again < bytes(id) * (1 + readers.len())
    }
}

/// The node a chain of reshapes starts from: the same elements in the same order.
pub(crate) fn strip(ir: &Ir, mut id: NodeId) -> NodeId {
    while let Op::Reshape(_) = ir.node(id).op {
        id = ir.node(id).inputs[0];
    }
    id
}

/// Nodes made only of sources that need no memory.
fn virtual_nodes(ir: &Ir) -> Vec<bool> {
    let mut made: Vec<bool> = Vec::with_capacity(ir.nodes.len());
    for node in &ir.nodes {
        let from_sources = match &node.op {
            op if is_memory(op) => false,
            Op::Reduce(r) => {
                let x = ir.node(node.inputs[0]).meta.shape.numel();
                let base = &ir.node(strip(ir, node.inputs[0])).op;
                r.op == Reduction::Sum
                    && node.meta.shape.numel() == 1
                    && (2..=SHORT_TOTAL).contains(&x)
                    && is_memory(base)
            }
            Op::MatMul(_)
            | Op::ArgReduce(_)
            | Op::ScatterAdd(_)
            | Op::Gather(_)
            | Op::CheckIndex { .. } => false,
            _ => node.inputs.iter().all(|x| made[x.index()]),
        };
        made.push(from_sources);
    }
    made
}

/// A product's shape with its batch axes as one: `[batch, M, N]`.
fn product_axes(shape: &Shape) -> Shape {
    let rank = shape.rank();
    let batch = shape[..rank - 2].iter().product();
    Shape::of(&[batch, shape[rank - 2], shape[rank - 1]])
}
