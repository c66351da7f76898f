//! Homes: the buffers that tensors are known to lie in before memory is planned.
//!
//! A kernel binds each tensor by itself, but where it would need more bindings than there are,
//! small tensors in one buffer share one (`bind.rs`): parameters of a shard, such as scales and
//! shifts of normalizations, their gradients, states of the model. Small transient values that
//! such a kernel reads are placed in one slot for it (`memory.rs`), such as means and variances.

use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use super::build::{Destination, Request};
use super::cluster::{Clusters, strip};
use crate::ops::{Meta, Op};
use crate::passes::Ir;
use crate::{Graph, NodeId};

/// Bytes of the largest tensor that shares a binding.
const SMALL: usize = 16 << 10;

/// May a tensor share the binding of others in its buffer?
pub(super) fn is_small(meta: &Meta) -> bool {
    meta.bytes() <= SMALL
}

/// The buffer of each state of a graph. A cache has one of its own: several may be more than a
/// binding holds.
pub(super) fn of_states(graph: &Graph) -> Vec<Role> {
    let mut caches = 0..;
    let states = graph.states();
    let role = |cache: bool| match cache {
        true => Role::Cache(caches.next().unwrap_or_default()),
        false => Role::States,
    };
    states.iter().map(|state| state.cache).map(role).collect()
}

/// The buffers of leaves and results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Homes {
    /// For each parameter.
    params: Vec<Option<Role>>,
    /// For each state; none if no binding can hold all of them.
    states: Vec<Role>,
    /// Of results that are wanted: all that each is written to.
    roots: BTreeMap<NodeId, Vec<Role>>,
}

impl Homes {
    pub(super) fn new(request: &Request<'_, '_>, ir: &Ir, destinations: &[Destination]) -> Self {
        let shard = |name: &str| request.slabs.find(name).map(|s| s.shard);
        let params = request.graph.params();
        let states = request.graph.states();
        let places = of_states(request.graph);
        let kept = states.iter().filter(|s| !s.cache);
        let bytes: u64 = kept.map(|s| s.meta.bytes() as u64 + 256).sum();
        let mut roots: BTreeMap<NodeId, Vec<Role>> = BTreeMap::new();
        for (destination, &root) in destinations.iter().zip(&ir.roots) {
            let home = match destination {
                Destination::Grad(i, _) => {
                    let segment = request.slabs.segments.get(*i);
                    segment.map(|s| Role::Grads(s.shard))
                }
                Destination::Output(_) | Destination::First(_) | Destination::Sums(_) => {
                    Some(Role::Outputs)
                }
                Destination::Ring(..) => Some(Role::Ring),
                Destination::State(i) => places.get(*i as usize).cloned(),
                Destination::Value(_) => None,
            };
            roots.entry(strip(ir, root)).or_default().extend(home);
        }
        Self {
            params: params
                .iter()
                .map(|p| shard(&p.name).map(Role::Params))
                .collect(),
            states: match bytes <= request.target.max_binding_bytes {
                true => places,
                false => Vec::new(),
            },
            roots,
        }
    }
}

impl Clusters<'_> {
    /// The buffer from which a small tensor is read, if it can lie there beside others.
    fn home(&self, id: NodeId) -> Option<Role> {
        let homes = &self.homes;
        match self.node(id).op {
            Op::Param(i) => homes.params.get(i as usize).cloned().flatten(),
            Op::State(i) => homes.states.get(i as usize).cloned(),
            Op::Input(_) | Op::Literal(_) | Op::ParamRows { .. } => None,
            _ => match homes.roots.get(&id).map(Vec::as_slice) {
                Some(roles) => roles.iter().find(|r| matches!(r, Role::Grads(_))).cloned(),
                None => Some(Role::Slot(0)),
            },
        }
    }

    /// Bindings of a kernel that reads and writes these tensors, at most.
    pub(super) fn bindings_of<'n>(
        &self,
        reads: &BTreeSet<NodeId>,
        writes: impl Iterator<Item = &'n NodeId>,
    ) -> usize {
        let (mut buffers, mut alone) = (BTreeSet::new(), 0);
        let small = |id: NodeId| is_small(&self.node(id).meta);
        for &id in writes {
            // What is written to a buffer with a place for it is one binding.
            let roles = self.homes.roots.get(&id);
            buffers.extend(roles.into_iter().flatten().cloned());
            // A new state may lie beside the old one at first, a read-back where others read it.
            let placed = |r: &Role| matches!(r, Role::Grads(_) | Role::Outputs);
            match roles.is_some_and(|roles| roles.iter().any(placed)) {
                true => {}
                false if small(id) => _ = buffers.insert(Role::Slot(0)),
                false => alone += 1,
            }
        }
        for &id in reads {
            match self.home(id).filter(|_| small(id)) {
                Some(home) => _ = buffers.insert(home),
                None => alone += 1,
            }
        }
        buffers.len() + alone
    }
}
