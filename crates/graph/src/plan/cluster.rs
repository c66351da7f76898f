//! Clustering: which nodes are computed together in one kernel, and which are stored.
//!
//! - Input: nodes after the passes, and what must be in memory (roots).
//! - Output: a cluster for every node that computes, and the set of stored nodes. A node that
//!   is neither stored nor in a cluster that needs it is computed again where it is read.
//!
//! Every computing node starts as a cluster of its own; clusters that exchange values are merged
//! while the result is still one loop nest: the same iteration space ([`Domain`]), at most one
//! matrix product, at its beginning, and no way out of the cluster and back into it (`merge.rs`).
//! What crosses between clusters is stored or computed again (`store.rs`).
//!
//! Sources that need no memory (constants, positions, random bits) and what is made only of
//! them belong to no cluster: they are made again in every kernel that reads them.

use std::collections::BTreeSet;

use super::domain::Domain;
use super::home::Homes;
use super::{alone, attention};
use crate::ops::{Direction, Op, Reduction, Unary};
use crate::passes::Ir;
use crate::{DeviceClass, Node, NodeId, Shape, Target};

/// Elements of a vector in memory that every reader of their sum may sum for itself.
const SHORT_TOTAL: usize = 4096;

/// Channels of a convolution's result, in a group, from which a tile of it is worth while on a GPU.
const LEAST_ROWS: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeSet<NodeId>,
    pub(crate) domain: Domain,
    /// The product, of matrices or a convolution, that this cluster is the epilogue of.
    pub(crate) product: Option<NodeId>,
    /// A sum over the terms of one of the product's operands that is computed beside it.
    pub(crate) row_sum: Option<NodeId>,
    pub(super) alone: bool,
}

#[derive(Debug)]
pub(crate) struct Clusters<'a> {
    pub(super) ir: &'a Ir,
    /// Views and sources that must be in memory, and are copied there.
    pub(super) copies: BTreeSet<NodeId>,
    /// Results that must be in memory.
    pub(crate) stored: BTreeSet<NodeId>,
    /// What kernels load: memory leaves and stored values.
    pub(crate) loaded: BTreeSet<NodeId>,
    /// The cluster of each node.
    pub(crate) of: Vec<Option<usize>>,
    /// What each node reads, and the computing nodes that read it, through views.
    sources: Vec<BTreeSet<NodeId>>,
    readers: Vec<Vec<NodeId>>,
    pub(crate) list: Vec<Cluster>,
    pub(super) virtual_nodes: Vec<bool>,
    /// Results that are computed again where they are read.
    pub(super) again: BTreeSet<NodeId>,
    /// Matrix products, and convolutions that are computed like them.
    products: BTreeSet<NodeId>,
    pub(super) roots: BTreeSet<NodeId>,
    pub(super) homes: Homes,
}

/// Leaves that lie in memory before the step.
pub(crate) fn is_memory(op: &Op) -> bool {
    matches!(
        op,
        Op::Input(_) | Op::Param(_) | Op::ParamRows { .. } | Op::State(_) | Op::Literal(_)
    )
}

impl<'a> Clusters<'a> {
    pub(crate) fn new(ir: &'a Ir, target: &Target, homes: Homes) -> Self {
        Self::merged(ir, target, homes, |_| {})
    }

    /// The same, and all that goes through the same elements in one, even where it shares no
    /// value: what an optimizer updates is replaced at once.
    pub(super) fn together(ir: &'a Ir, target: &Target) -> Self {
        let more = |clusters: &mut Self| clusters.merge_rest(target);
        Self::merged(ir, target, Homes::default(), more)
    }

    fn merged(ir: &'a Ir, target: &Target, homes: Homes, more: impl FnOnce(&mut Self)) -> Self {
        let mut clusters = Self {
            ir,
            copies: BTreeSet::new(),
            stored: BTreeSet::new(),
            loaded: BTreeSet::new(),
            of: vec![None; ir.nodes.len()],
            sources: Vec::new(),
            readers: Vec::new(),
            list: Vec::new(),
            virtual_nodes: virtual_nodes(ir),
            again: BTreeSet::new(),
            products: products(ir, target).collect(),
            roots: ir.roots.iter().map(|&r| strip(ir, r)).collect(),
            homes,
        };
        clusters.require_operands();
        clusters.start(target);
        clusters.link();
        clusters.attach_row_sums();
        clusters.merge_all(target);
        more(&mut clusters);
        clusters.decide_stores(target);
        clusters.keep_needed();
        clusters
    }

    pub(super) fn node(&self, id: NodeId) -> &'a Node {
        self.ir.node(id)
    }

    /// True for nodes that compute: members of clusters.
    pub(super) fn computes(&self, id: NodeId) -> bool {
        let op = &self.node(id).op;
        self.copies.contains(&id)
            || !(op.is_source() || op.is_view() || self.virtual_nodes[id.index()])
    }

    /// Is this node computed as a product, before everything else in its kernel?
    pub(crate) fn is_product(&self, id: NodeId) -> bool {
        self.products.contains(&id)
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
            let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
            match node.op {
                Op::MatMul(_) => {
                    for &x in &node.inputs {
                        self.require(super::operand::base(self.ir, x));
                    }
                }
                Op::Conv(ref conv) if self.is_product(id) => {
                    for (i, &x) in node.inputs.iter().enumerate() {
                        if i == 1 && conv.direction != Direction::Weight {
                            self.require(strip(self.ir, x));
                        }
                    }
                }
                ref op if op.is_alone() => {
                    for x in alone::bases(self.ir, id) {
                        self.require(x);
                    }
                    self.require(id);
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
    fn start(&mut self, target: &Target) {
        let live = self.ir.live();
        for i in 0..live.len() {
            let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
            if !live[i] || !self.computes(id) {
                continue;
            }
            let shares = |c: &Cluster| {
                let first = c.nodes.first();
                first.is_some_and(|&n| attention::share_kernel(self.ir, n, id, &live, target))
            };
            let is_attention = matches!(self.node(id).op, Op::Attention(_));
            if is_attention && let Some(k) = self.list.iter().position(shares) {
                self.list[k].nodes.insert(id);
                self.of[i] = Some(k);
                continue;
            }
            let node = self.node(id);
            let shape_of = |i: usize| self.node(node.inputs[i]).meta.shape;
            let shape = node.meta.shape;
            let domain = match &node.op {
                Op::MatMul(_) => Domain::pointwise(&product_axes(&shape)),
                Op::Conv(conv) if self.is_product(id) => {
                    Domain::pointwise(&Shape::of(&conv.result(shape_of(0)[0])))
                }
                Op::Conv(conv) => Domain::products(conv, shape_of(0)[0]),
                Op::Reduce(r) if !self.is_total(id) => Domain::reducing(&shape_of(0), &r.axes),
                Op::ArgReduce(r) => Domain::reducing(&shape_of(0), &[r.axis]),
                _ => Domain::pointwise(&shape),
            };
            self.of[i] = Some(self.list.len());
            self.list.push(Cluster {
                nodes: BTreeSet::from([id]),
                domain,
                product: self.is_product(id).then_some(id),
                row_sum: None,
                alone: node.op.is_alone(),
            });
        }
    }

    /// A bias gradient sums the same rows that the weight gradient's product reads.
    fn attach_row_sums(&mut self) {
        for i in 0..self.list.len() {
            let product = self.list[i].product.map(|p| self.node(p));
            let operand = product.and_then(|p| summed_operand(self.ir, p));
            let Some((base, kept)) = operand else {
                continue;
            };
            let sums = (0..self.list.len()).find(|&j| {
                let mut nodes = self.list[j].nodes.iter();
                nodes.any(|&n| self.is_row_sum(n, base, kept))
                    && self.list[j].nodes.len() == 1
                    && !self.waits_for(i, j)
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

    /// Is this the sum of `base`, seen as `[before, kept, after]`, over the outer two?
    fn is_row_sum(&self, id: NodeId, base: NodeId, [before, kept, after]: [usize; 3]) -> bool {
        summed_runs(self.ir, self.node(id)) == Some((base, [before, kept, after]))
    }

    /// The computing nodes whose values `reader` needs, with the shape of the path between.
    pub(super) fn producers(&self, reader: NodeId) -> Vec<NodeId> {
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
    pub(super) fn fused_inputs(&self, id: NodeId) -> Vec<NodeId> {
        let node = self.node(id);
        match &node.op {
            Op::MatMul(_) | Op::Conv(_) => Vec::new(),
            op if op.is_alone() => Vec::new(),
            Op::Gather(_) => vec![node.inputs[1]],
            _ => node.inputs.clone(),
        }
    }

    /// Everything a node reads, computed or in memory, through views.
    pub(super) fn sources(&self, id: NodeId) -> &BTreeSet<NodeId> {
        &self.sources[id.index()]
    }

    /// The computing nodes that read this one, through views.
    pub(super) fn readers(&self, id: NodeId) -> &[NodeId] {
        &self.readers[id.index()]
    }

    /// Notes who reads whom, once it is known what computes.
    fn link(&mut self) {
        let all = self.ir.nodes.len();
        self.readers = vec![Vec::new(); all];
        self.sources = Vec::with_capacity(all);
        for i in 0..all {
            let id = NodeId(u32::try_from(i).unwrap_or(u32::MAX));
            let mut found = BTreeSet::new();
            let mut stack = self.node(id).inputs.clone();
            while let Some(id) = stack.pop() {
                if self.computes(id) || is_memory(&self.node(id).op) {
                    found.insert(id);
                } else {
                    stack.extend(self.node(id).inputs.iter().copied());
                }
            }
            if self.of[i].is_some() {
                for source in &found {
                    self.readers[source.index()].push(id);
                }
            }
            self.sources.push(found);
        }
    }
}

/// Are the elements of this node all of bfloat16, so that two of them fit a word of memory?
pub(crate) fn packs(ir: &Ir, mut id: NodeId) -> bool {
    while let Op::Reshape(_) | Op::Expand(_) | Op::Permute(_) | Op::Slice(_) | Op::Flip(_) =
        ir.node(id).op
    {
        id = ir.node(id).inputs[0];
    }
    matches!(ir.node(id).op, Op::Unary(Unary::Bf16))
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
            | Op::Conv(_)
            | Op::ArgReduce(_)
            | Op::Attention(_)
            | Op::ScatterAdd(_)
            | Op::FirstPosition(_)
            | Op::Scan(_)
            | Op::ArgSort(_)
            | Op::SliceUpdate(_)
            | Op::Gather(_)
            | Op::CheckIndex { .. } => false,
            _ => node.inputs.iter().all(|x| made[x.index()]),
        };
        made.push(from_sources);
    }
    made
}

/// What a sum reads, as `[before, kept, after]` of which the outer two are summed, if the axes that
/// it keeps are together.
pub(crate) fn summed_runs(ir: &Ir, node: &Node) -> Option<(NodeId, [usize; 3])> {
    let Op::Reduce(r) = &node.op else {
        return None;
    };
    let shape = ir.node(node.inputs[0]).meta.shape;
    let first = (0..shape.rank()).find(|a| !r.axes.contains(a));
    let first = first.unwrap_or(shape.rank());
    let last = (first..shape.rank()).find(|a| r.axes.contains(a));
    let last = last.unwrap_or(shape.rank());
    let count = |axes: std::ops::Range<usize>| shape[axes].iter().product::<usize>();
    let together = (last..shape.rank()).all(|a| r.axes.contains(&a));
    let runs = [
        count(0..first),
        count(first..last),
        count(last..shape.rank()),
    ];
    (together && r.op == Reduction::Sum).then(|| (strip(ir, node.inputs[0]), runs))
}

/// The operand that a weight gradient could sum over all of its terms, as `[before, kept, after]`
/// of which the outer two are summed.
pub(crate) fn summed_operand(ir: &Ir, product: &Node) -> Option<(NodeId, [usize; 3])> {
    let shape_of = |i: usize| ir.node(product.inputs[i]).meta.shape;
    match &product.op {
        Op::MatMul(op) if op.trans_a => {
            let (shape, a) = (product.meta.shape, shape_of(0));
            let (rank, batch) = (shape.rank(), shape.rank() - 2);
            let one_batch = shape[..batch].iter().all(|&d| d == 1);
            let sizes = [a[a.rank() - 2], shape[rank - 2], 1];
            one_batch.then(|| (strip(ir, product.inputs[0]), sizes))
        }
        Op::Conv(conv) if conv.direction == Direction::Weight => {
            let y = shape_of(1);
            let sizes = [y[0], y[1], y[2..].iter().product()];
            Some((strip(ir, product.inputs[1]), sizes))
        }
        _ => None,
    }
}

/// The matrix products of a graph.
pub(crate) fn products<'a>(ir: &'a Ir, target: &'a Target) -> impl Iterator<Item = NodeId> + 'a {
    let ids = (0u32..).map(NodeId).take(ir.nodes.len());
    ids.filter(move |id| is_product(ir, ir.node(*id), target))
}

/// Is this a matrix product, or a convolution that is worth a tile of its result in registers? The
/// others are programs, which read what they need where they need it.
pub(crate) fn is_product(ir: &Ir, node: &Node, target: &Target) -> bool {
    let least = match target.class {
        DeviceClass::Cpu => 1,
        DeviceClass::Gpu | DeviceClass::Software => LEAST_ROWS,
    };
    match &node.op {
        Op::MatMul(_) => true,
        Op::Conv(conv) => {
            let [groups, m, n, k] = conv.product(ir.node(node.inputs[0]).meta.shape[0]);
            groups * n > 0 && k > 1 && m >= least
        }
        _ => false,
    }
}

/// A product's shape with its batch axes as one: `[batch, M, N]`.
fn product_axes(shape: &Shape) -> Shape {
    let rank = shape.rank();
    let batch = shape[..rank - 2].iter().product();
    Shape::of(&[batch, shape[rank - 2], shape[rank - 1]])
}
