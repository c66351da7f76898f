//! Which values that cross from one kernel to another are stored, and which are computed again.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, Clusters, is_memory, packs, strip};
use crate::ops::Op;
use crate::{DeviceClass, NodeId, Target};

/// Operations beyond which a value is stored rather than computed again.
const CHEAP: usize = 24;

/// Places, counted over all nodes, at which one element of a value is computed from others beyond
/// which it is stored: halves added again and again double them with every sum.
const PLACES: usize = 96;

/// The same as `CHEAP` for a value that is read several times.
const CHEAP_BROADCAST: usize = 3;

/// The same for an operand of a convolution, which reads each element for several of its own. What
/// a GPU does while it waits for memory, a software device has to do beside all else.
const fn cheap_factor(class: DeviceClass) -> usize {
    match class {
        DeviceClass::Gpu => 12,
        DeviceClass::Software | DeviceClass::Cpu => 4,
    }
}

impl Clusters<'_> {
    /// What crosses from one cluster to another is stored, unless computing it again moves
    /// fewer bytes.
    pub(super) fn decide_stores(&mut self, target: &Target) {
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
            let op = &self.node(id).op;
            let anchor = op.is_alone()
                || matches!(
                    op,
                    Op::MatMul(_) | Op::Conv(_) | Op::Reduce(_) | Op::ArgReduce(_)
                );
            if anchor && !self.foreign_readers(id).is_empty() {
                self.stored.insert(id);
            }
        }
        let required = self.stored.clone();
        for &id in &order {
            let readers = self.foreign_readers(id);
            if readers.is_empty() || self.stored.contains(&id) {
                continue;
            }
            if !self.compute_again(id, &readers, target) {
                self.stored.insert(id);
            }
        }
        // Once more, from what is stored by now.
        for &id in &order {
            let readers = self.foreign_readers(id);
            // Others may be made of what is packed.
            let fixed = required.contains(&id) || packs(self.ir, id);
            let decided = self.stored.contains(&id) && !fixed;
            if decided && !readers.is_empty() && readers.iter().all(|&k| self.is_settled(k)) {
                self.stored.remove(&id);
                if !self.compute_again(id, &readers, target) {
                    self.stored.insert(id);
                }
            }
        }
        self.keep_bindings(target);
    }

    /// Stores what a kernel computes again if it would need more bindings than there are: that was
    /// decided value by value, and sources of one may have become results of another kernel.
    fn keep_bindings(&mut self, target: &Target) {
        for k in 0..self.list.len() {
            while self.bindings(k) > target.max_bindings {
                let mut reads = self.reads(&self.list[k].nodes).into_iter();
                let Some(again) = reads.find(|n| self.again.contains(n)) else {
                    break;
                };
                self.again.remove(&again);
                self.stored.insert(again);
            }
        }
    }

    /// Bindings of the kernel of a cluster.
    fn bindings(&self, cluster: usize) -> usize {
        let Cluster { nodes, row_sum, .. } = &self.list[cluster];
        let mut reads = self.reads(nodes);
        self.expand(&mut reads);
        let read = reads.difference(nodes).copied().collect();
        let written = nodes.iter().filter(|n| self.stored.contains(n));
        let checks = |n: &NodeId| matches!(self.node(*n).op, Op::CheckIndex { .. });
        self.bindings_of(&read, written.chain(row_sum)) + usize::from(nodes.iter().any(checks))
    }

    /// What is computed again is not read, but its sources are.
    fn expand(&self, reads: &mut BTreeSet<NodeId>) {
        for n in reads.clone() {
            if self.again.contains(&n) {
                reads.remove(&n);
                reads.extend(self.cone(n).1);
            }
        }
    }

    /// Leaves a value to be computed again by its readers, if that moves fewer bytes: its sources
    /// become what they load.
    fn compute_again(&mut self, id: NodeId, readers: &BTreeSet<usize>, target: &Target) -> bool {
        if !self.recompute_is_cheaper(id, readers, target) {
            return false;
        }
        for leaf in self.cone(id).1 {
            if !is_memory(&self.node(leaf).op) {
                self.stored.insert(leaf);
            }
        }
        self.again.insert(id);
        true
    }

    /// Is everything stored that others read of this cluster?
    fn is_settled(&self, cluster: usize) -> bool {
        let mut nodes = self.list[cluster].nodes.iter();
        nodes.all(|n| self.stored.contains(n) || self.foreign_readers(*n).is_empty())
    }

    /// Keeps as stored what is reached from the roots, and notes what is loaded.
    pub(super) fn keep_needed(&mut self) {
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
                let base = |x| super::operand::base(self.ir, x);
                vec![base(x(0)), base(x(1))]
            }
            op if op.is_alone() => super::alone::bases(self.ir, id),
            Op::Gather(_) => vec![strip(self.ir, x(0)), x(1)],
            _ => node.inputs.clone(),
        }
    }

    /// Clusters other than its own that read a node, directly or by computing again what is
    /// made of it.
    fn foreign_readers(&self, id: NodeId) -> BTreeSet<usize> {
        let own = self.of[id.index()];
        self.readers(id)
            .iter()
            .filter_map(|r| self.of[r.index()])
            .filter(|&k| Some(k) != own)
            .collect()
    }

    /// The operations and leaves from which a node can be computed again, and whether they are
    /// arithmetic alone.
    fn cone(&self, id: NodeId) -> (usize, BTreeSet<NodeId>, bool) {
        let (mut cost, mut leaves, mut plain) = (0, BTreeSet::new(), true);
        // Inputs come before what is computed from them, so the last node is complete.
        let mut work = BTreeMap::from([(id, BTreeSet::from([0u64]))]);
        let mut count = 0;
        while let Some((n, places)) = work.pop_last() {
            let node = self.node(n);
            count += places.len();
            if count > PLACES {
                return (usize::MAX, leaves, false);
            }
            let anchor = !self.is_total(n)
                && (node.op.is_alone()
                    || matches!(
                        node.op,
                        Op::MatMul(_)
                            | Op::Conv(_)
                            | Op::Reduce(_)
                            | Op::ArgReduce(_)
                            | Op::Gather(_)
                            | Op::CheckIndex { .. }
                    ));
            // What was rounded to be stored is smaller than what it was made of.
            let packed = || !node.op.is_view() && packs(self.ir, n) && !self.again.contains(&n);
            let ends = || self.stored.contains(&n) || anchor || packed();
            if is_memory(&node.op) || (n != id && ends()) {
                leaves.insert(n);
            } else if anchor {
                return (usize::MAX, leaves, false);
            } else {
                cost += usize::from(!node.op.is_view() && !node.op.is_source());
                plain &= !self.is_total(n) && !matches!(node.op, Op::Random { .. });
                for &input in &node.inputs {
                    let below = work.entry(input).or_default();
                    match node.op.is_view() {
                        true => below.extend(places.iter().map(|&p| elsewhere(p, n))),
                        false => below.extend(&places),
                    }
                }
            }
        }
        (cost, leaves, plain)
    }

    /// Bytes of a node in memory, if it is stored.
    fn bytes(&self, id: NodeId) -> usize {
        let bytes = self.node(id).meta.bytes();
        if packs(self.ir, id) { bytes / 2 } else { bytes }
    }

    /// Would the kernel of this value's cluster go if the value were not stored?
    fn is_only_for(&self, id: NodeId) -> bool {
        let cluster = self.of[id.index()].map(|k| &self.list[k]);
        cluster.is_some_and(|c| {
            let mut others = c.nodes.iter().filter(|n| **n != id);
            c.row_sum.is_none() && others.all(|n| !self.stored.contains(n))
        })
    }

    fn recompute_is_cheaper(&self, id: NodeId, readers: &BTreeSet<usize>, target: &Target) -> bool {
        let (cost, leaves, plain) = self.cone(id);
        if cost > CHEAP {
            return false;
        }
        let bytes = |n: NodeId| self.bytes(n);
        let mut again = 0;
        for leaf in &leaves {
            if !is_memory(&self.node(*leaf).op) && !self.stored.contains(leaf) {
                again += bytes(*leaf);
            }
        }
        for &reader in readers {
            let Cluster {
                nodes,
                domain,
                product,
                row_sum,
                ..
            } = &self.list[reader];
            let factor = product.filter(|p| matches!(self.node(*p).op, Op::Conv(_)));
            let factor = factor.is_some_and(|p| self.sources(p).contains(&id));
            if factor && (cost > cheap_factor(target.class) || !plain) {
                return false;
            }
            let numel = self.node(id).meta.shape.numel();
            let repeated = domain.numel() > numel && domain.rows() != numel;
            if !factor && repeated && cost > CHEAP_BROADCAST {
                return false;
            }
            let mut reads = self.reads(nodes);
            self.expand(&mut reads);
            reads.remove(&id);
            again += leaves.difference(&reads).map(|&l| bytes(l)).sum::<usize>();
            reads.extend(&leaves);
            if self.operands(nodes, *row_sum, &reads) > target.max_bindings {
                return false;
            }
        }
        // A kernel that does nothing else reads its sources for it.
        let own: usize = match self.is_only_for(id) {
            true => leaves.iter().map(|&l| bytes(l)).sum(),
            false => 0,
        };
        again < own + bytes(id) * (1 + readers.len())
    }
}

/// The number of a place seen through a view (FNV-1a).
const fn elsewhere(place: u64, view: NodeId) -> u64 {
    (place ^ (view.index() as u64 + 1)).wrapping_mul(0x0100_0000_01b3)
}
