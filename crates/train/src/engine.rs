//! Runs plans: uploads, step rows, reports, and the parameters in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use gradus_data::Dataset;
use gradus_graph::Array;
use gradus_graph::backend::{BackendError, ProgramId, Report, Runtime, StepRow, Ticket};
use gradus_graph::plan::{Plan, Role, Value, ValueId};
use gradus_graph::timeline::Timeline;

use crate::Error;
use crate::program::{Indices, Program, check_indices, fill, readbacks};

/// Submits that may be under way at once; a further one waits for the oldest.
const IN_FLIGHT: usize = 3;

/// A device's memory with the plans that run over it.
pub(crate) struct Engine {
    runtime: Box<dyn Runtime>,
    programs: Vec<Program>,
    pending: VecDeque<Pending>,
    done: VecDeque<Done>,
}

/// The number of a program of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(usize);

struct Pending {
    ticket: Ticket,
    program: Handle,
    first_step: u64,
    samples: usize,
    indices: Vec<Indices>,
}

/// What one step reported: the loss, then the metrics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) step: u64,
    pub(crate) names: Arc<[String]>,
    /// Whether it changed parameters.
    pub(crate) trained: bool,
    /// Whether what it reported are the loss and the metrics of `compile`.
    pub(crate) supervised: bool,
    pub(crate) samples: usize,
    pub(crate) values: Vec<f64>,
}

impl Engine {
    pub(crate) fn new(runtime: Box<dyn Runtime>) -> Self {
        Self {
            runtime,
            programs: Vec::new(),
            pending: VecDeque::new(),
            done: VecDeque::new(),
        }
    }

    pub(crate) fn compile(&mut self, plan: Arc<Plan>) -> Result<Handle, Error> {
        let id = self.runtime.compile(Arc::clone(&plan))?;
        self.programs.push(Program::new(id, plan));
        Ok(Handle(self.programs.len() - 1))
    }

    pub(crate) fn describe(&self) -> String {
        self.runtime.describe()
    }

    pub(crate) fn plan(&self, handle: Handle) -> Result<Arc<Plan>, Error> {
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        Ok(Arc::clone(&program.plan))
    }

    /// The runtime's number of a program, and what would be uploaded.
    pub(crate) fn parts(&mut self, handle: Handle) -> Result<Parts<'_>, Error> {
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        Ok(Parts {
            runtime: &mut *self.runtime,
            id: program.id,
            plan: &program.plan,
            upload: &program.upload,
        })
    }

    /// Puts these samples of a data set into the next upload.
    pub(crate) fn gather(
        &mut self,
        handle: Handle,
        data: &Dataset,
        indices: &[u32],
    ) -> Result<(), Error> {
        let program = self.programs.get_mut(handle.0).ok_or_else(unknown)?;
        for (name, range) in &program.inputs {
            let words = program.upload.get_mut(range.clone()).unwrap_or_default();
            data.gather_into(name, indices, words)?;
        }
        Ok(())
    }

    /// Puts arrays of `samples` samples into the next upload, as words by name. Samples that the
    /// plan has beyond them are filled with the last one.
    pub(crate) fn feed<'a>(
        &mut self,
        handle: Handle,
        arrays: impl Iterator<Item = (&'a str, &'a [u32])>,
        samples: usize,
    ) -> Result<(), Error> {
        let program = self.programs.get_mut(handle.0).ok_or_else(unknown)?;
        for (name, source) in arrays {
            let mut inputs = program.inputs.iter();
            let range = inputs.find_map(|(other, range)| (other == name).then(|| range.clone()));
            let words = range.and_then(|range| program.upload.get_mut(range));
            fill(words.unwrap_or_default(), source, samples);
        }
        Ok(())
    }

    /// Runs steps over the upload, or over the resident data set. The runtime says
    /// where in the ring they report.
    pub(crate) fn submit(
        &mut self,
        handle: Handle,
        rows: &[StepRow],
        first_step: u64,
        samples: usize,
    ) -> Result<(), Error> {
        while self.pending.len() >= IN_FLIGHT && self.finish_one()? {}
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        let ticket = self.runtime.submit(program.id, rows, &program.upload)?;
        self.pending.push_back(Pending {
            ticket,
            program: handle,
            first_step,
            samples,
            indices: Indices::uploaded(&program.plan, &program.upload),
        });
        Ok(())
    }

    /// Runs one step alone, and tells when its kernels ran.
    pub(crate) fn profile(
        &mut self,
        handle: Handle,
        row: &StepRow,
        step: u64,
        samples: usize,
    ) -> Result<Timeline, Error> {
        self.drain()?;
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        let (report, timeline) = self.runtime.profile(program.id, row, &program.upload)?;
        let indices = Indices::uploaded(&program.plan, &program.upload);
        self.keep(handle, &report, (step, samples), indices)?;
        Ok(timeline)
    }

    /// Waits until nothing is under way.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        while self.finish_one()? {}
        Ok(())
    }

    /// The reports that came in, oldest first.
    pub(crate) fn take_done(&mut self) -> impl Iterator<Item = Done> + '_ {
        self.done.drain(..)
    }

    /// Waits for the oldest submit and keeps its reports; false if nothing is under way.
    pub(crate) fn finish_one(&mut self) -> Result<bool, Error> {
        let Some(pending) = self.pending.pop_front() else {
            return Ok(false);
        };
        let report = self.runtime.wait(pending.ticket)?;
        let Pending {
            program,
            first_step,
            samples,
            indices,
            ..
        } = pending;
        self.keep(program, &report, (first_step, samples), indices)?;
        Ok(true)
    }

    fn keep(
        &mut self,
        handle: Handle,
        report: &Report,
        (first_step, samples): (u64, usize),
        mut indices: Vec<Indices>,
    ) -> Result<(), Error> {
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        if report.errors.iter().any(|&bits| bits != 0) {
            let (plan, runtime) = (&program.plan, &mut self.runtime);
            indices.extend(Indices::resident(plan, |value| {
                read_value(&mut **runtime, program, value)
            })?);
        }
        check_indices(&program.plan, report, first_step, &indices)?;
        for (step, row) in (first_step..).zip(&report.rows) {
            self.done.push_back(Done {
                step,
                names: Arc::clone(&program.names),
                trained: program.trains,
                supervised: program.supervised,
                samples,
                values: readbacks(&program.plan, row),
            });
        }
        Ok(())
    }

    /// Waits for what is under way, whatever comes of it, and forgets its reports.
    pub(crate) fn discard(&mut self) {
        // One error has been returned already.
        while !matches!(self.finish_one(), Ok(false)) {}
        self.done.clear();
    }

    /// The names of a plan's outputs.
    pub(crate) fn outputs(&self, handle: Handle) -> Vec<String> {
        let program = self.programs.get(handle.0);
        program.map_or_else(Vec::new, |p| {
            p.plan.outputs.iter().map(|(n, _)| n.clone()).collect()
        })
    }

    /// An output of the plan that ran last.
    pub(crate) fn output(&mut self, handle: Handle, name: &str) -> Result<Array, Error> {
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        let mut outputs = program.plan.outputs.iter();
        let found = outputs.find_map(|(other, value)| (other == name).then_some(*value));
        let value = found.and_then(|v| program.plan.values.get(v.index()));
        let Some(value) = value else {
            return Err(Error::Missing {
                name: name.to_owned(),
                found: program
                    .plan
                    .outputs
                    .iter()
                    .map(|(n, _)| n.clone())
                    .collect(),
            });
        };
        let words = read_value(&mut *self.runtime, program, value)?;
        let array = Array::from_words(value.meta.shape, value.meta.dtype, &words)?;
        Ok(array)
    }

    /// The words of a value that the plan leaves in memory, which ran last.
    pub(crate) fn value(&mut self, handle: Handle, value: ValueId) -> Result<Vec<u32>, Error> {
        let program = self.programs.get(handle.0).ok_or_else(unknown)?;
        let value = program.plan.values.get(value.index()).ok_or_else(unknown)?;
        Ok(read_value(&mut *self.runtime, program, value)?)
    }

    /// Reads a range of a persistent buffer. Waits for what is under way.
    pub(crate) fn read(&mut self, role: &Role, first: u64, count: u64) -> Result<Vec<u32>, Error> {
        self.drain()?;
        let program = self.programs.first().ok_or_else(unknown)?;
        Ok(self.runtime.read(program.id, role, first, count)?)
    }

    /// Writes a range of a persistent buffer.
    pub(crate) fn write(&mut self, role: &Role, first: u64, words: &[u32]) -> Result<(), Error> {
        Ok(self.runtime.write(role, first, words)?)
    }
}

/// What `verify` needs to run a step kernel by kernel.
pub(crate) struct Parts<'a> {
    pub(crate) runtime: &'a mut dyn Runtime,
    pub(crate) id: ProgramId,
    pub(crate) plan: &'a Arc<Plan>,
    pub(crate) upload: &'a [u32],
}

/// The words of a value of a program.
fn read_value(
    runtime: &mut dyn Runtime,
    program: &Program,
    value: &Value,
) -> Result<Vec<u32>, BackendError> {
    let buffer = program.plan.buffers.get(value.buffer.index());
    let role = buffer.map_or(&Role::Outputs, |b| &b.role);
    let count = value.meta.shape.numel() as u64;
    runtime.read(program.id, role, value.offset / 4, count)
}

/// Handles come from `compile` of the same engine, so this does not happen.
fn unknown() -> Error {
    Error::setting("a plan of another model")
}
