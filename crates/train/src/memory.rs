//! A model's parameters and states in device memory.

use gradus_graph::plan::{Plan, Role, SparseGradient, Value};
use gradus_graph::{Array, DType, Shape};

use crate::engine::{Engine, Handle};
use crate::model::Defined;
use crate::supervised::TRAIN;
use crate::trace::{Layout, Leaves};
use crate::{Error, Model};

/// One tensor that a model keeps between steps.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) holds: Holds,
    /// The parameter or state.
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    role: Role,
    first: u64,
}

/// What a kept tensor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The parameter of this number.
    Param(usize),
    /// A vector of a step's optimizer for a parameter.
    Optimizer {
        step: usize,
        param: usize,
        /// Its number among the optimizer's states.
        state: usize,
        /// Its name in checkpoints: `exp_avg`, or `disc/exp_avg` for steps of the program's own.
        vector: String,
    },
    /// The state of this number.
    State(usize),
}

impl Kept {
    /// The step whose optimizer it belongs to.
    pub(crate) const fn step(&self) -> Option<usize> {
        match self.holds {
            Holds::Optimizer { step, .. } => Some(step),
            Holds::Param(_) | Holds::State(_) => None,
        }
    }

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
        let counts: Vec<u32> = self.defined.iter().map(|d| d.count).collect();
        let outcome = run(self, &before);
        self.step = step;
        for (defined, count) in self.defined.iter_mut().zip(counts) {
            defined.count = count;
        }
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

/// Parameters in order, then for each step the vectors of its optimizer, each of all parameters
/// that it trains, then the states of the model.
pub(crate) fn kept<'a>(
    layout: &Layout,
    plan: &Plan,
    steps: impl Iterator<Item = &'a Defined>,
) -> Vec<Kept> {
    let Leaves { params, states } = &layout.leaves;
    let mirror = |i: usize, holds: Holds, role: &dyn Fn(usize) -> Role| {
        let (param, segment) = (params.get(i)?, layout.slabs.segments.get(i)?);
        Some(Kept {
            holds,
            name: param.name.clone(),
            shape: param.shape,
            dtype: DType::F32,
            role: role(segment.shard),
            first: segment.offset,
        })
    };
    let all = (0..params.len()).filter_map(|i| mirror(i, Holds::Param(i), &Role::Params));
    let mut all: Vec<Kept> = all.collect();
    for (step, defined) in steps.enumerate() {
        let Some(update) = &defined.definition.update else {
            continue;
        };
        let (name, place) = (&defined.definition.name, &defined.place);
        for (state, vector) in update.optimizer.states().into_iter().enumerate() {
            let vector = match name.as_str() {
                TRAIN => vector.to_owned(),
                name => format!("{name}/{vector}"),
            };
            let role = |shard| Role::OptimizerState(place.first_state + state, shard);
            all.extend(place.trained.iter().filter_map(|&param| {
                let holds = Holds::Optimizer {
                    step,
                    param,
                    state,
                    vector: vector.clone(),
                };
                mirror(param, holds, &role)
            }));
        }
    }
    for (i, state) in states.iter().enumerate() {
        let meta = state.meta;
        all.extend(state_place(plan, &state.name).map(|first| Kept {
            holds: Holds::State(i),
            name: state.name.clone(),
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

/// The gradients of the last step, which was of this program, as arrays, in the order of the
/// parameters that it trains.
pub(crate) fn gradients(
    layout: &Layout,
    trained: &[usize],
    (engine, program): (&mut Engine, Handle),
) -> Result<Vec<Array>, Error> {
    let Layout { leaves, slabs } = layout;
    let plan = engine.plan(program)?;
    let mut arrays = Vec::with_capacity(trained.len());
    for &i in trained {
        let (Some(param), Some(segment)) = (leaves.params.get(i), slabs.segments.get(i)) else {
            continue;
        };
        let words = match plan.sparse.iter().find(|sparse| sparse.param == i) {
            Some(sparse) => {
                let first = engine.value(program, sparse.first)?;
                let sums = engine.value(program, sparse.sums)?;
                let width = param.shape.numel() / first.len().max(1);
                SparseGradient::words(&first, &sums, width)
            }
            None => engine.read(&Role::Grads(segment.shard), segment.offset, segment.len)?,
        };
        arrays.push(Array::from_words(param.shape, DType::F32, &words)?);
    }
    Ok(arrays)
}
