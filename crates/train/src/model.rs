//! A network with its parameters on a device.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use gradus_data::Batch;
use gradus_graph::backend::{ModelMemory, StepRow};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::plan::{Plan, SlabLayout};
use gradus_graph::{Array, Shape};

use crate::engine::{Done, Engine, Handle};
use crate::memory::{self, Kept};
use crate::spec::Spec;
use crate::trace::{Key, Leaves, Lowered, Purpose, lower};
use crate::{Device, Error, Scores};

/// Reports that are kept for [`Model::wait`].
const REPORTS: usize = 1000;

/// A network with its parameters on a device: trained, evaluated, asked, saved.
///
/// Made by [`IntoModel::compile`](crate::IntoModel::compile). Not generic: named inputs to named
/// outputs.
pub struct Model {
    pub(crate) spec: Spec,
    pub(crate) device: Device,
    pub(crate) engine: Engine,
    pub(crate) leaves: Leaves,
    pub(crate) kept: Vec<Kept>,
    /// The shape of the prediction in training, batch included.
    pub(crate) output: Shape,
    slabs: SlabLayout,
    plan: Arc<Plan>,
    programs: BTreeMap<Key, Handle>,
    /// Training steps done.
    pub(crate) step: u32,
    /// Epochs of `fit` done.
    pub(crate) epoch: u32,
    reports: VecDeque<Done>,
    last_loss: Option<f64>,
}

/// A step under way: wait for it with [`Model::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    step: u64,
}

impl Model {
    pub(crate) fn new(spec: Spec, device: Device) -> Result<Self, Error> {
        let key = (Purpose::Train, spec.batch, spec.resident.is_some());
        let Lowered {
            plan,
            leaves,
            slabs,
            output,
        } = lower(&spec, &device, None, key)?;
        let states = spec.optimizer.states();
        let kept = memory::kept(&leaves, &plan, states);
        let runtime = device.runtime(ModelMemory {
            slabs: slabs.clone(),
            optimizer_states: states.len(),
            state_bytes: memory::state_bytes(&plan),
        })?;
        let mut engine = Engine::new(runtime);
        log::info!("preparing {} kernels for {device}", plan.kernels.len());
        let train = engine.compile(Arc::clone(&plan))?;
        let mut model = Self {
            spec,
            device,
            engine,
            leaves,
            kept,
            output,
            slabs,
            plan,
            programs: BTreeMap::from([(key, train)]),
            step: 0,
            epoch: 0,
            reports: VecDeque::new(),
            last_loss: None,
        };
        model.initialize()?;
        Ok(model)
    }

    /// Writes the initial parameters and states. Values are made on the host from the seed and
    /// the parameter's name: the same on every device, whatever other layers there are.
    fn initialize(&mut self) -> Result<(), Error> {
        for (param, kept) in self.leaves.params.iter().zip(&self.kept) {
            let mut rng = Rng::new(self.spec.seed, stream(&param.name, 0));
            let values = param.init.sample(&param.shape, &mut rng);
            let found = values.len();
            let array = Array::new(param.shape, values).map_err(|_| Error::Init {
                name: param.name.clone(),
                shape: param.shape.to_vec(),
                found,
            })?;
            kept.write(&mut self.engine, &array)?;
        }
        let before = self.kept.len() - self.leaves.states.len();
        for (state, kept) in self.leaves.states.iter().zip(self.kept.iter().skip(before)) {
            let bits = vec![state.init.to_bits(); state.meta.shape.numel()];
            let array = Array::from_words(state.meta.shape, state.meta.dtype, &bits)?;
            kept.write(&mut self.engine, &array)?;
        }
        Ok(())
    }

    /// The plan of a training step: what it costs in kernels, bytes and operations, known before
    /// the first one runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The device the model runs on.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// The device and its driver, in words.
    pub fn describe_device(&self) -> String {
        self.engine.describe()
    }

    /// Training steps done, those before [`Model::load`] included.
    pub fn steps(&self) -> u64 {
        u64::from(self.step)
    }

    /// Submits one training step and returns at once. At most three steps are under way: a
    /// further one waits for the oldest.
    ///
    /// The batch may have another number of samples than the model was compiled for; a plan for
    /// that number is then compiled when it first occurs.
    ///
    /// # Errors
    /// If the batch lacks an array or has others than the model takes, the device fails, or an
    /// earlier step met an index out of range.
    pub fn step(&mut self, batch: &Batch) -> Result<Ticket, Error> {
        let samples = self.spec.check_batch(batch, Purpose::Train)?;
        let program = self.program((Purpose::Train, samples, false))?;
        let words = self.spec.words(batch, Purpose::Train);
        let words = words
            .iter()
            .map(|(name, words)| (name.as_str(), &words[..]));
        self.engine.feed(program, words, samples)?;
        let step = self.steps();
        self.train(program, &[0], samples)?;
        Ok(Ticket { step })
    }

    /// Waits for a step and gives what it reported: loss and metrics of its batch, from before
    /// the update.
    ///
    /// # Errors
    /// If the device fails, the step met an index out of range, or its report was given out or
    /// is more than a thousand steps old.
    pub fn wait(&mut self, ticket: Ticket) -> Result<Scores, Error> {
        self.collect();
        while self.reports.back().is_none_or(|r| r.step < ticket.step)
            && self.engine.finish_one()?
        {
            self.collect();
        }
        let found = self.reports.iter().position(|r| r.step == ticket.step);
        match found.and_then(|i| self.reports.remove(i)) {
            Some(done) => Ok(self.spec.scores(&done.values, done.samples)),
            None => Err(Error::Ticket {
                step: ticket.step,
                kept: REPORTS,
            }),
        }
    }

    /// Waits for all steps under way and gives the loss of the last one; `None` before the first
    /// step.
    ///
    /// # Errors
    /// If the device fails, or a step met an index out of range.
    pub fn last_loss(&mut self) -> Result<Option<f64>, Error> {
        self.settle()?;
        Ok(self.last_loss)
    }

    /// Waits for all steps under way, keeping their reports.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let drained = self.engine.drain();
        self.collect();
        drained
    }

    fn collect(&mut self) {
        for done in self.engine.take_done() {
            self.last_loss = done.values.first().copied();
            self.reports.push_back(done);
        }
        let excess = self.reports.len().saturating_sub(REPORTS);
        self.reports.drain(..excess);
    }

    /// Submits training steps over the upload, or over batches of the resident data set that
    /// begin at these positions of its order.
    pub(crate) fn train(
        &mut self,
        program: Handle,
        firsts: &[u32],
        samples: usize,
    ) -> Result<(), Error> {
        let steps = (self.step..).zip(firsts);
        let rows: Vec<StepRow> = steps
            .map(|(step, &first)| self.spec.row(step, first))
            .collect();
        let first_step = self.steps();
        self.engine.submit(program, &rows, first_step, samples)?;
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        self.step = self.step.saturating_add(count);
        Ok(())
    }

    /// The plan for this purpose and number of samples, compiled when first needed.
    pub(crate) fn program(&mut self, key: Key) -> Result<Handle, Error> {
        if let Some(&program) = self.programs.get(&key) {
            return Ok(program);
        }
        let known = Some((&self.leaves, &self.slabs));
        let Lowered { plan, .. } = lower(&self.spec, &self.device, known, key)?;
        let program = self.engine.compile(plan)?;
        self.programs.insert(key, program);
        Ok(program)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("device", &self.device)
            .field("parameters", &self.leaves.params.len())
            .field("steps", &self.step)
            .finish_non_exhaustive()
    }
}
