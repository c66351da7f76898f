//! A network with its parameters on a device.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use gradus_data::Batch;
use gradus_graph::backend::{ModelMemory, StepRow};
use gradus_graph::philox::{Rng, stream};
use gradus_graph::plan::Plan;
use gradus_graph::{Array, At, ParamInfo, Shape};

use crate::engine::{Done, Engine, Handle};
use crate::memory::{self, Holds, Kept};
use crate::spec::{Field, Spec};
use crate::step::Definition;
use crate::supervised::TRAIN;
use crate::trace::{self, First, Key, Layout, Leaves, Place};
use crate::{Device, Error, Scores, generate};

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
    pub(crate) layout: Layout,
    pub(crate) kept: Vec<Kept>,
    pub(crate) defined: Vec<Defined>,
    /// The shape of the network's prediction, batch included.
    pub(crate) output: Shape,
    /// The plan of the first step.
    plan: Arc<Plan>,
    /// One for each phase of the optimizer, if it has several.
    programs: BTreeMap<(Key, usize), Handle>,
    /// Plans that decode, by the input that is decoded.
    pub(crate) generators: BTreeMap<(String, generate::Key), generate::Prepared>,
    /// Steps done, of all kinds.
    pub(crate) step: u32,
    /// Epochs of `fit` done.
    pub(crate) epoch: u32,
    reports: VecDeque<Done>,
    last_loss: Option<f64>,
}

/// A step of a model.
pub(crate) struct Defined {
    pub(crate) definition: Definition,
    pub(crate) place: Place,
    /// How often it ran.
    pub(crate) count: u32,
    /// What its optimizer noted of the losses of epochs.
    pub(crate) memory: Vec<f64>,
}

/// A step under way: wait for it with [`Model::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    step: u64,
}

impl Model {
    /// The first of the steps is planned at once, the others when they are needed: they have no
    /// parameters of their own.
    pub(crate) fn new(
        spec: Spec,
        device: Device,
        first: Definition,
        others: Vec<Definition>,
    ) -> Result<Self, Error> {
        let resident = spec.resident.is_some() && first.name == TRAIN;
        let planned = trace::first(&spec, &device, &Layout::default(), &first, resident, |_| 0)?;
        let mut model = Self {
            engine: Engine::new(device.runtime(ModelMemory::default())?),
            spec,
            device,
            layout: Layout::default(),
            kept: Vec::new(),
            defined: Vec::new(),
            output: planned.prediction,
            plan: Arc::clone(&planned.plan),
            programs: BTreeMap::new(),
            generators: BTreeMap::new(),
            step: 0,
            epoch: 0,
            reports: VecDeque::new(),
            last_loss: None,
        };
        model.admit(first, planned, resident)?;
        model
            .defined
            .extend(others.into_iter().map(|definition| Defined {
                definition,
                place: Place::default(),
                count: 0,
                memory: Vec::new(),
            }));
        Ok(model)
    }

    /// Plans and prepares a step. On an error the model stays as it is.
    pub(crate) fn define(&mut self, definition: Definition) -> Result<(), Error> {
        let states = definition.update.as_ref();
        let states = states.map_or(0, |update| update.optimizer.states().len());
        let free = |trained: &[usize]| self.free_states(trained, states);
        let (spec, device, layout) = (&self.spec, &self.device, &self.layout);
        let planned = trace::first(spec, device, layout, &definition, false, free)?;
        self.admit(definition, planned, false)
    }

    /// Prepares a step, makes room for its parameters and states and gives them their first
    /// values.
    fn admit(
        &mut self,
        definition: Definition,
        planned: First,
        resident: bool,
    ) -> Result<(), Error> {
        let First {
            plan,
            layout,
            place,
            ..
        } = planned;
        log::info!(
            "preparing {} kernels for {}",
            plan.kernels.len(),
            self.device
        );
        let program = self.engine.compile(Arc::clone(&plan))?;
        let defined = Defined {
            definition,
            place,
            count: 0,
            memory: Vec::new(),
        };
        let known = (
            self.layout.leaves.params.len(),
            self.layout.leaves.states.len(),
        );
        let steps = self.defined.iter().chain([&defined]);
        let kept = memory::kept(&layout, &plan, steps);
        initialize(
            &mut self.engine,
            &layout.leaves,
            known,
            &kept,
            (self.defined.len(), &defined),
            self.spec.seed,
        )?;
        let key = (self.defined.len(), self.spec.batch, resident);
        let phase = trace::last_phase(defined.definition.update.as_ref());
        self.programs.insert((key, phase), program);
        (self.layout, self.kept) = (layout, kept);
        self.defined.push(defined);
        Ok(())
    }

    /// The first number of `states` state vectors that no step with one of these parameters uses.
    fn free_states(&self, trained: &[usize], states: usize) -> usize {
        let others = self.defined.iter().filter_map(|other| {
            let update = other.definition.update.as_ref()?;
            let overlap = other.place.trained.iter().any(|i| trained.contains(i));
            let first = other.place.first_state;
            overlap.then_some((first, first + update.optimizer.states().len()))
        });
        let others: Vec<(usize, usize)> = others.collect();
        let is_free = |first: usize| {
            others
                .iter()
                .all(|&(a, b)| first + states <= a || b <= first)
        };
        let ends = others.iter().map(|&(_, end)| end);
        let candidates = std::iter::once(0).chain(ends);
        candidates
            .filter(|&first| is_free(first))
            .min()
            .unwrap_or(0)
    }

    /// The number of the step of this name.
    pub(crate) fn find(&self, name: &str) -> Result<usize, Error> {
        let mut names = self.step_names();
        names
            .position(|other| other == name)
            .ok_or_else(|| Error::Step {
                name: name.to_owned(),
                found: self.step_names().map(str::to_owned).collect(),
            })
    }

    pub(crate) fn step_names(&self) -> impl Iterator<Item = &str> {
        self.defined.iter().map(|d| d.definition.name.as_str())
    }

    /// What a step takes.
    pub(crate) fn fields(&self, step: usize) -> &[Field] {
        self.defined.get(step).map_or(&[], |d| &d.definition.fields)
    }

    /// Whether a step can take its batch from the resident data set.
    pub(crate) fn is_resident(&self, step: usize) -> bool {
        self.spec.resident.is_some()
            && self
                .defined
                .get(step)
                .is_some_and(|d| d.definition.name == TRAIN)
    }

    /// The plan of a training step: what it costs in kernels, bytes and operations, known before
    /// the first one runs. Without a loss at `compile`, the plan of a prediction.
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

    /// Steps done by [`Model::fit`], [`Model::step`] and [`Model::run`], those before
    /// [`Model::load`] included.
    pub fn steps(&self) -> u64 {
        u64::from(self.step)
    }

    /// Submits one training step and returns at once: [`Model::run`] of the step `train`.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn step(&mut self, batch: &Batch) -> Result<Ticket, Error> {
        self.run(TRAIN, batch)
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
            Some(done) => Ok(Scores::of(done, &self.spec.metrics)),
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
            if done.trained {
                self.last_loss = done.values.first().copied();
            }
            self.reports.push_back(done);
        }
        let excess = self.reports.len().saturating_sub(REPORTS);
        self.reports.drain(..excess);
    }

    /// Submits steps over the upload, or over batches of the resident data set that begin at
    /// these positions of its order.
    pub(crate) fn train(
        &mut self,
        (step, program): (usize, Handle),
        firsts: &[u32],
        samples: usize,
    ) -> Result<(), Error> {
        let rows = (0..).zip(firsts);
        let rows: Vec<StepRow> = rows.map(|(i, &first)| self.row(step, i, first)).collect();
        let first_step = self.steps();
        self.engine.submit(program, &rows, first_step, samples)?;
        self.advance(step, u32::try_from(rows.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// The row of the `i`-th next run of a step.
    pub(crate) fn row(&self, step: usize, i: u32, first: u32) -> StepRow {
        let optimizer = self.defined.get(step).and_then(|defined| {
            let update = defined.definition.update.as_ref()?;
            Some(update.optimizer.words(&At {
                step: defined.count.saturating_add(i),
                epoch: self.epoch,
                memory: &defined.memory,
            }))
        });
        let optimizer = optimizer.unwrap_or_default();
        self.spec
            .row(self.step.saturating_add(i), first, &optimizer)
    }

    /// Counts an epoch, as [`Model::fit`] does after each of its own: schedules in epochs go on,
    /// and those that watch the loss ([`Plateau`](gradus_nn::Plateau)) see it. For loops by hand.
    pub fn end_epoch(&mut self, loss: f64) {
        self.epoch = self.epoch.saturating_add(1);
        for defined in &mut self.defined {
            if let Some(update) = &defined.definition.update {
                update.optimizer.observe(&mut defined.memory, loss);
            }
        }
    }

    /// The learning rate of the next run of a step, as its schedule has it; `None` if the step
    /// trains nothing.
    ///
    /// # Errors
    /// If there is no step of this name.
    pub fn learning_rate(&self, step: &str) -> Result<Option<f64>, Error> {
        let defined = self.defined.get(self.find(step)?);
        Ok(defined.and_then(|defined| {
            let update = defined.definition.update.as_ref()?;
            let rate = update.optimizer.rate(&At {
                step: defined.count,
                epoch: self.epoch,
                memory: &defined.memory,
            });
            Some(rate.learning_rate)
        }))
    }

    /// Counts runs of a step.
    pub(crate) fn advance(&mut self, step: usize, runs: u32) {
        self.step = self.step.saturating_add(runs);
        if let Some(defined) = self.defined.get_mut(step) {
            defined.count = defined.count.saturating_add(runs);
        }
    }

    /// The ticket of the next step.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { step: self.steps() }
    }

    /// The phase of the `i`-th next run of a step.
    pub(crate) fn phase(&self, step: usize, i: u32) -> usize {
        self.defined.get(step).map_or(0, |defined| {
            let update = defined.definition.update.as_ref();
            update.map_or(0, |u| u.optimizer.phase(defined.count.saturating_add(i)))
        })
    }

    /// The plan of the next run of this step for this number of samples, compiled when first
    /// needed.
    pub(crate) fn program(&mut self, key: Key) -> Result<Handle, Error> {
        self.program_in(key, self.phase(key.0, 0))
    }

    /// The same for a phase of the optimizer.
    pub(crate) fn program_in(&mut self, key: Key, phase: usize) -> Result<Handle, Error> {
        if let Some(&program) = self.programs.get(&(key, phase)) {
            return Ok(program);
        }
        let (step, samples, resident) = key;
        let Some(defined) = self.defined.get(step) else {
            return Err(Error::setting("a step of another model"));
        };
        let plan = trace::another(
            &self.spec,
            &self.device,
            &self.layout,
            (&defined.definition, &defined.place),
            (samples, resident, phase),
        )?;
        let program = self.engine.compile(plan)?;
        self.programs.insert((key, phase), program);
        Ok(program)
    }
}

/// Writes the first values of parameters and states after the `known` ones, and the vectors of
/// the optimizer of the last step. Values are made on the host from the seed and the parameter's
/// name: the same on every device, whatever other layers there are.
fn initialize(
    engine: &mut Engine,
    leaves: &Leaves,
    known: (usize, usize),
    kept: &[Kept],
    (last, defined): (usize, &Defined),
    seed: u64,
) -> Result<(), Error> {
    for kept in kept {
        let array = match kept.holds {
            Holds::Param(i) if i >= known.0 => leaves.params.get(i).map(|p| sample(p, seed)),
            Holds::State(i) if i >= known.1 => leaves.states.get(i).map(|state| {
                let bits = vec![state.init.to_bits(); state.meta.shape.numel()];
                Ok(Array::from_words(
                    state.meta.shape,
                    state.meta.dtype,
                    &bits,
                )?)
            }),
            Holds::Optimizer { step, state, .. } if step == last => {
                Some(defined.initial(state, kept))
            }
            _ => None,
        };
        if let Some(array) = array {
            kept.write(engine, &array?)?;
        }
    }
    Ok(())
}

impl Defined {
    /// A vector of the optimizer before the first step.
    pub(crate) fn initial(&self, state: usize, kept: &Kept) -> Result<Array, Error> {
        let update = self.definition.update.as_ref();
        let value = update.map_or(0.0, |update| update.optimizer.initial(state));
        Ok(Array::new(kept.shape, vec![value; kept.shape.numel()])?)
    }
}

fn sample(param: &ParamInfo, seed: u64) -> Result<Array, Error> {
    let mut rng = Rng::new(seed, stream(&param.name, 0));
    let values = param.init.sample(&param.shape, &mut rng);
    let found = values.len();
    Array::new(param.shape, values).map_err(|_| Error::Init {
        name: param.name.clone(),
        shape: param.shape.to_vec(),
        found,
    })
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("device", &self.device)
            .field("parameters", &self.layout.leaves.params.len())
            .field("steps", &self.step)
            .finish_non_exhaustive()
    }
}
