//! A model's parameters and states in device memory.

use gradus_graph::plan::{Plan, Role, Segment, Value};
use gradus_graph::{Array, DType, Shape};

use crate::engine::Engine;
use crate::trace::Leaves;
use crate::{Error, Model};

/// One tensor that a model keeps between steps.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// The parameter or state.
    pub(crate) name: String,
    /// The optimizer's name of this vector, if it is one of its states.
    pub(crate) optimizer: Option<&'static str>,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    role: Role,
    first: u64,
}

impl Kept {
    pub(crate) fn read(&self, engine: &mut Engine) -> Result<Array, Error> {
        let words = engine.read(&self.role, self.first, self.shape.numel() as u64)?;
        Ok(Array::from_words(self.shape, self.dtype, &words)?)
    }

    pub(crate) fn write(&self, engine: &mut Engine, array: &Array) -> Result<(), Error> {
        engine.write(&self.role, self.first, &array.to_words())
    }
}

impl Model {
    /// Runs something that trains the model, given what it keeps, and leaves it as it was.
    pub(crate) fn unchanged<T>(
        &mut self,
        run: impl FnOnce(&mut Self, &[Array]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.settle()?;
        let (before, step) = (self.read_kept()?, self.step);
        let outcome = run(self, &before);
        self.step = step;
        let restored = self.restore(&before);
        let outcome = self.clean(outcome)?;
        restored?;
        Ok(outcome)
    }

    pub(crate) fn read_kept(&mut self) -> Result<Vec<Array>, Error> {
        let mut arrays = Vec::with_capacity(self.kept.len());
        for kept in &self.kept {
            arrays.push(kept.read(&mut self.engine)?);
        }
        Ok(arrays)
    }

    pub(crate) fn restore(&mut self, before: &[Array]) -> Result<(), Error> {
        for (kept, array) in self.kept.iter().zip(before) {
            kept.write(&mut self.engine, array)?;
        }
        Ok(())
    }
}

/// Parameters in order, then for each optimizer state the vectors of all parameters, then the
/// states of the model.
pub(crate) fn kept(
    leaves: &Leaves,
    plan: &Plan,
    optimizer_states: &'static [&'static str],
) -> Vec<Kept> {
    let mirror = |optimizer: Option<&'static str>, role: &dyn Fn(usize) -> Role| -> Vec<Kept> {
        let place = |name: &str| plan.slabs.find(name);
        let params = leaves.params.iter();
        params
            .filter_map(|param| {
                let &Segment { shard, offset, .. } = place(&param.name)?;
                Some(Kept {
                    name: param.name.clone(),
                    optimizer,
                    shape: param.shape,
                    dtype: DType::F32,
                    role: role(shard),
                    first: offset,
                })
            })
            .collect()
    };
    let mut all = mirror(None, &Role::Params);
    for (i, name) in optimizer_states.iter().enumerate() {
        all.extend(mirror(Some(name), &|shard| Role::OptimizerState(i, shard)));
    }
    for state in &leaves.states {
        let meta = state.meta;
        all.extend(state_place(plan, &state.name).map(|first| Kept {
            name: state.name.clone(),
            optimizer: None,
            shape: meta.shape,
            dtype: meta.dtype,
            role: Role::States,
            first,
        }));
    }
    all
}

/// The first element of a state in the buffer of states.
fn state_place(plan: &Plan, name: &str) -> Option<u64> {
    let in_states = |value: &&Value| {
        let buffer = plan.buffers.get(value.buffer.index());
        buffer.is_some_and(|b| b.role == Role::States) && value.name == name
    };
    plan.values.iter().find(in_states).map(|v| v.offset / 4)
}

/// The gradients of the last step, as arrays, in the order of the parameters.
pub(crate) fn gradients(
    leaves: &Leaves,
    plan: &Plan,
    engine: &mut Engine,
) -> Result<Vec<Array>, Error> {
    let mut arrays = Vec::with_capacity(leaves.params.len());
    for param in &leaves.params {
        let Some(segment) = plan.slabs.find(&param.name) else {
            continue;
        };
        let words = engine.read(&Role::Grads(segment.shard), segment.offset, segment.len)?;
        arrays.push(Array::from_words(param.shape, DType::F32, &words)?);
    }
    Ok(arrays)
}

/// Bytes of all states.
pub(crate) fn state_bytes(plan: &Plan) -> u64 {
    let states = plan.buffers.iter().find(|b| b.role == Role::States);
    states.map_or(0, |b| b.bytes)
}
