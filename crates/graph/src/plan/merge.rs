//! Merging: which clusters become one kernel.
//!
//! Links are tried from the last reader backwards, so that a mask joins the gradient that uses
//! it rather than the layer it was made from.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, Clusters, packs, strip};
use super::domain::Domain;
use super::view::{Source, source};
use crate::ops::{Op, Reduce};
use crate::{Index, Node, NodeId, Part, Shape, Target};

/// Positions up to which a kernel is mostly its launch.
const SMALL: usize = 1 << 16;

/// Terms in a row beyond which a kernel that reduces rows does not also write them.
const LONG_ROW: usize = 1 << 17;

impl Clusters<'_> {
    pub(super) fn merge_all(&mut self, target: &Target) {
        let members: Vec<NodeId> = self
            .list
            .iter()
            .flat_map(|c| c.nodes.iter().copied())
            .collect();
        // First, since what is made of a position later would part it from the value found there.
        for &n in &members {
            if let Some(other) = self.same_search(n)
                && let (Some(p), Some(c)) = (self.of[other.index()], self.of[n.index()])
            {
                self.try_merge(p, c, target);
            }
        }
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
                break;
            }
        }
        self.merge_reductions(target);
        self.merge_siblings(target);
    }

    /// Merges a reduction into another that reads all that it does and reduces the same axes: the
    /// gradients of a bias and a weight, for one, in a single reading.
    fn merge_reductions(&mut self, target: &Target) {
        let mut alike: BTreeMap<_, Vec<(usize, BTreeSet<NodeId>)>> = BTreeMap::new();
        for (k, cluster) in self.list.iter().enumerate() {
            let Cluster { nodes, domain, .. } = cluster;
            if !nodes.is_empty() && cluster.product.is_none() && !domain.is_pointwise() {
                let entry = alike.entry(domain.runs()).or_default();
                entry.push((k, self.reads(nodes)));
            }
        }
        for clusters in alike.into_values() {
            for (k, reads) in &clusters {
                let more = clusters.iter().find(|(other, more)| {
                    let gone = self.list[*other].nodes.is_empty();
                    other != k && !gone && !reads.is_empty() && more.is_superset(reads)
                });
                if let Some((other, _)) = more {
                    self.try_merge(*k, *other, target);
                }
            }
        }
    }

    /// Merges small kernels that are ready at the same time and iterate alike: those that read
    /// what the same kernels make, and of those that read states and parameters alone the ones that
    /// nothing waits for, and that round weights.
    fn merge_siblings(&mut self, target: &Target) {
        let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (k, cluster) in self.list.iter().enumerate() {
            let Cluster { nodes, domain, .. } = cluster;
            let small = cluster.product.is_none() && domain.numel() <= SMALL;
            let read = self.reads_from(k);
            let last = |n: &NodeId| self.readers(*n).iter().all(|r| nodes.contains(r));
            let rounds = |n: &NodeId| packs(self.ir, *n);
            let early = || nodes.iter().all(last) || nodes.iter().all(rounds);
            if small && !nodes.is_empty() && (!read.is_empty() || early()) {
                alike.entry((domain.runs(), read)).or_default().push(k);
            }
        }
        for clusters in alike.into_values() {
            if let [first, others @ ..] = &clusters[..] {
                for &k in others {
                    self.try_merge(k, *first, target);
                }
            }
        }
    }

    /// Merges whatever can be, of any size.
    pub(super) fn merge_rest(&mut self, target: &Target) {
        let all: BTreeSet<usize> = self.of.iter().flatten().copied().collect();
        if let Some((&last, others)) = all.iter().collect::<Vec<_>>().split_last() {
            for &&other in others {
                self.try_merge(other, *last, target);
            }
        }
    }

    /// The maximum or minimum of the rows in which a node looks for where it stands.
    fn same_search(&self, id: NodeId) -> Option<NodeId> {
        let node = self.node(id);
        let Op::ArgReduce(arg) = &node.op else {
            return None;
        };
        let all = self.list.iter().flat_map(|c| &c.nodes);
        all.copied().find(|&other| {
            let Node { op, inputs, .. } = self.node(other);
            let same = |r: &Reduce| r.op == arg.op && r.axes == [arg.axis];
            matches!(op, Op::Reduce(r) if same(r)) && *inputs == node.inputs
        })
    }

    /// Merges cluster `p`, which makes values, into `c`, which reads them, if one kernel can
    /// compute both.
    fn try_merge(&mut self, p: usize, c: usize, target: &Target) -> bool {
        let (producer, reader) = (&self.list[p], &self.list[c]);
        if producer.alone || reader.alone || reader.product.is_some() && producer.product.is_some()
        {
            return false;
        }
        let first = if reader.product.is_some() {
            reader
        } else {
            producer
        };
        let second = if reader.product.is_some() {
            producer
        } else {
            reader
        };
        let Some(domain) = first.domain.unify(&second.domain) else {
            return false;
        };
        let nodes: BTreeSet<NodeId> = producer.nodes.union(&reader.nodes).copied().collect();
        if !self.keeps_late(&nodes) {
            return false;
        }
        let product = producer.product.or(reader.product);
        if let Some(product) = product
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
        // Any row of a table may be read, so all of it must be in memory before.
        let gathers_own = |n: &NodeId| {
            let node = self.node(*n);
            matches!(node.op, Op::Gather(_)) && nodes.contains(&strip(self.ir, node.inputs[0]))
        };
        if nodes.iter().any(gathers_own) {
            return false;
        }
        let row_sum = producer.row_sum.or(reader.row_sum);
        if !nodes.iter().all(|&n| self.aligned(n, &nodes, &domain))
            || self.operands(&nodes, row_sum, &self.reads(&nodes)) > target.max_bindings - 1
            || self.leaves_and_returns(p, c)
        {
            return false;
        }
        self.list[c] = Cluster {
            nodes,
            domain,
            product,
            row_sum,
            alone: false,
        };
        self.list[p].nodes.clear();
        self.list[p].row_sum = None;
        for &n in self.list[c].nodes.iter().chain(&row_sum) {
            self.of[n.index()] = Some(c);
        }
        true
    }

    /// What is computed again must not be made as early as the forward pass.
    fn keeps_late(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let has = |part| nodes.iter().any(|n| self.node(*n).part == part);
        !has(Part::Again) || !has(Part::Forward)
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
        if let Op::Conv(conv) = &node.op
            && !self.is_product(id)
        {
            // It reads everywhere, so what it reads is made before.
            let space = conv.space(self.node(node.inputs[0]).meta.shape[0]);
            let fits = !space.sums() || domain.reduces(&space.shape(), &space.summed_axes());
            return fits && !self.sources(id).iter().any(|s| nodes.contains(s));
        }
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

    /// What a kernel over these nodes reads.
    pub(super) fn reads(&self, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let sources = nodes.iter().flat_map(|&n| self.sources(n));
        sources.filter(|s| !nodes.contains(s)).copied().collect()
    }

    /// Bindings of a kernel over these nodes that reads these tensors, at most.
    pub(super) fn operands(
        &self,
        nodes: &BTreeSet<NodeId>,
        row_sum: Option<NodeId>,
        reads: &BTreeSet<NodeId>,
    ) -> usize {
        let written = nodes.iter().filter(|&&n| {
            self.stored.contains(&n) || self.readers(n).iter().any(|r| !nodes.contains(r))
        });
        let checks = nodes
            .iter()
            .any(|&n| matches!(self.node(n).op, Op::CheckIndex { .. }));
        self.bindings_of(reads, written.chain(&row_sum)) + usize::from(checks)
    }

    /// Is there a way from `p` through other clusters into `c`?
    fn leaves_and_returns(&self, p: usize, c: usize) -> bool {
        // Walk back from what `c` reads outside of both; reaching `p` closes a cycle. The same
        // the other way round: `p` may not read, through others, what `c` makes.
        self.reaches(c, p) || self.reaches(p, c)
    }

    /// Does a cluster read, itself or through others, what `made` makes?
    pub(super) fn waits_for(&self, cluster: usize, made: usize) -> bool {
        self.reads_from(cluster).contains(&made) || self.reaches(cluster, made)
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
}
