//! Memory that the plans of a runtime share.

use std::collections::BTreeMap;

use gradus_graph::backend::ModelMemory;
use gradus_graph::plan::{Plan, Role};

use crate::{Buffer, Commands, Device, TensorError};

/// Buffers by what they hold: what a model keeps between steps, and the slots of intermediate
/// results, of which every plan uses as many and as much as it needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    buffers: BTreeMap<Role, Buffer>,
}

impl Shared {
    /// The parameters, optimizer states and states of a model, all zero.
    pub(super) fn new(device: &Device, memory: &ModelMemory) -> Result<Self, TensorError> {
        let mut wanted = vec![(Role::States, memory.state_bytes)];
        for (shard, elements) in memory.slabs.shards.iter().enumerate() {
            let bytes = elements.saturating_mul(4);
            wanted.push((Role::Params(shard), bytes));
            let states = 0..memory.optimizer_states;
            wanted.extend(states.map(|state| (Role::OptimizerState(state, shard), bytes)));
        }
        let mut shared = Self::default();
        shared.ensure(device, &wanted)?;
        Ok(shared)
    }

    /// Makes what a plan needs and is not there yet. True if a buffer took the place of a smaller
    /// one, so that other plans must be bound anew.
    pub(super) fn fit(&mut self, device: &Device, plan: &Plan) -> Result<bool, TensorError> {
        let buffers = plan.buffers.iter().filter(|b| is_shared(&b.role));
        let wanted: Vec<_> = buffers.map(|b| (b.role.clone(), b.bytes)).collect();
        self.ensure(device, &wanted)
    }

    fn ensure(&mut self, device: &Device, wanted: &[(Role, u64)]) -> Result<bool, TensorError> {
        let mut made = Vec::new();
        for (role, bytes) in wanted {
            let held = self.buffers.get(role).map_or(0, Buffer::bytes);
            if *bytes > held {
                made.push((role, Buffer::storage(device, &role.to_string(), *bytes)?));
            }
        }
        if made.is_empty() {
            return Ok(false);
        }
        // Written now, so that the driver need not do it in the middle of the first step.
        let mut commands = Commands::new(device, "zeros")?;
        let mut replaced = false;
        for (role, buffer) in &made {
            commands.clear(buffer);
            if let Some(old) = self.buffers.get(role) {
                replaced = true;
                if is_persistent(role) {
                    commands.copy(&old.whole(), buffer, 0)?;
                }
            }
        }
        commands.submit()?;
        self.buffers.extend(
            made.into_iter()
                .map(|(role, buffer)| (role.clone(), buffer)),
        );
        Ok(replaced)
    }

    pub(super) fn get(&self, role: &Role) -> Option<&Buffer> {
        self.buffers.get(role)
    }

    /// The memory of intermediate results.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Buffer> {
        let slots = |(role, buffer)| matches!(role, &Role::Slot(_)).then_some(buffer);
        self.buffers.iter().filter_map(slots)
    }

    /// Bytes of all buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.values().map(Buffer::padded_bytes).sum()
    }
}

/// Whether a model keeps this between steps.
pub(super) fn is_persistent(role: &Role) -> bool {
    matches!(
        role,
        Role::Params(_)
            | Role::Grads(_)
            | Role::OptimizerState(..)
            | Role::States
            | Role::Cache(_)
            | Role::Resident(_)
            | Role::Order
    )
}

fn is_shared(role: &Role) -> bool {
    is_persistent(role) || matches!(role, Role::Slot(_))
}
