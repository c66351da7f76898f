//! The memory of a model: buffers by what they hold.

use std::collections::BTreeMap;

use gradus_graph::backend::{BackendError, ModelMemory};
use gradus_graph::plan::Role;

use super::words::Words;

/// All buffers of a runtime. Those of a plan have the plan's number in their key; persistent ones,
/// and slots, which only matter while a step runs, are shared.
#[derive(Debug, Default)]
pub(super) struct Storage {
    ids: BTreeMap<(Option<usize>, Role), usize>,
    /// Where operands that lie packed are unpacked while a kernel runs.
    unpacked: Vec<usize>,
    /// The buffers. Kernels take those that they write out of it while they run.
    pub(super) buffers: Vec<Words>,
}

impl Storage {
    /// The parameters and states of a model, zero.
    pub(super) fn new(memory: &ModelMemory) -> Self {
        let mut storage = Self::default();
        for (shard, &len) in memory.slabs.shards.iter().enumerate() {
            let len = size(len);
            storage.ensure(0, &Role::Params(shard), len);
            for state in 0..memory.optimizer_states {
                storage.ensure(0, &Role::OptimizerState(state, shard), len);
            }
        }
        storage.ensure(0, &Role::States, size(memory.state_bytes.div_ceil(4)));
        storage
    }

    /// The buffer of this role for a plan, made or enlarged if need be.
    pub(super) fn ensure(&mut self, plan: usize, role: &Role, words: usize) -> usize {
        let next = self.buffers.len();
        let id = *self.ids.entry(key(plan, role)).or_insert(next);
        if id == next {
            self.buffers.push(Words::default());
        }
        if let Some(buffer) = self.buffers.get_mut(id) {
            buffer.grow(words);
        }
        id
    }

    /// The buffer in which the packed operand of this number is unpacked, made or enlarged if need
    /// be.
    pub(super) fn unpacked(&mut self, number: usize, words: usize) -> usize {
        while self.unpacked.len() <= number {
            self.unpacked.push(self.buffers.len());
            self.buffers.push(Words::default());
        }
        let id = self.unpacked[number];
        self.buffers[id].grow(words);
        id
    }

    /// The words of a buffer.
    pub(super) fn get(&mut self, plan: usize, role: &Role) -> Result<&mut Words, BackendError> {
        let id = self.ids.get(&key(plan, role));
        let buffer = id.and_then(|id| self.buffers.get_mut(*id));
        buffer.ok_or_else(|| BackendError::Access(format!("there is no buffer for {role:?}")))
    }

    /// Overwrites slots, outputs and read-backs.
    pub(super) fn overwrite_transients(&mut self, word: u32) {
        for ((_, role), id) in &self.ids {
            let transient = matches!(role, Role::Slot(_) | Role::Outputs | Role::Ring);
            if let (true, Some(buffer)) = (transient, self.buffers.get_mut(*id)) {
                buffer.fill(word);
            }
        }
        for id in &self.unpacked {
            if let Some(buffer) = self.buffers.get_mut(*id) {
                buffer.fill(word);
            }
        }
    }

    /// A range of a buffer.
    pub(super) fn range(
        &mut self,
        plan: usize,
        role: &Role,
        first: u64,
        count: u64,
    ) -> Result<&mut [u32], BackendError> {
        let words = self.get(plan, role)?;
        let len = words.len();
        let range = size(first)..size(first).saturating_add(size(count));
        words.get_mut(range).ok_or_else(|| {
            BackendError::Access(format!(
                "{role:?} has {len} words, but {count} words from {first} on were asked for"
            ))
        })
    }
}

fn key(plan: usize, role: &Role) -> (Option<usize>, Role) {
    let own = matches!(
        role,
        Role::Upload | Role::Literals | Role::Outputs | Role::Ring | Role::Errors
    );
    (own.then_some(plan), role.clone())
}

/// A count of words; what does not fit memory fits no buffer either.
pub(super) fn size(words: u64) -> usize {
    usize::try_from(words).unwrap_or(usize::MAX)
}
