//! Runs plans on a device.
//!
//! A submit is one upload, one encoder, one compute pass: step rows and inputs are written at
//! once, the dispatches of all steps are recorded from a flat list, and after the pass what they
//! report is copied to memory that the host reads some steps later. At most [`IN_FLIGHT`] submits
//! are under way; a further one first waits for the oldest.

mod error;
mod estimate;
mod program;
mod shared;
mod through;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use gradus_graph::backend::{
    BackendError, ModelMemory, Observer, ProgramId, Report, Runtime, StepRow, Ticket,
};
use gradus_graph::plan::{Plan, Role};

use crate::buffer::WORD;
use crate::health::lock;
use crate::read::Wait;
use crate::{
    Commands, Device, Source, Staging, Submission, TensorError, compile, compile_all, kernels,
};
use error::of_kernel;
use program::{Launch, Program, ROWS, bytes_of};
use shared::Shared;

/// Submits under way at once.
const IN_FLIGHT: usize = 3;

/// Called with the pipelines made so far and all there are.
pub type Progress = Box<dyn FnMut(usize, usize) + Send>;

/// A [`Runtime`] on a GPU, or on a software device that plays one.
pub struct GpuRuntime {
    device: Device,
    shared: Shared,
    programs: Vec<Program>,
    /// Oldest first.
    flights: VecDeque<Flight>,
    /// Reports that came in and were not asked for yet, oldest first.
    reports: VecDeque<(Ticket, Report)>,
    tickets: u64,
    progress: Option<Progress>,
    checked: bool,
}

/// A submit under way.
#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    program: usize,
    steps: usize,
    staging: Staging,
    submission: Submission,
}

/// Bytes of a runtime's buffers, by what asks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// What plans say: parameters, gradients, states, data, slots, inputs, outputs, literals, error
    /// words, one row of the ring.
    pub planned: u64,
    /// Step rows.
    pub step_rows: u64,
    /// Rows of the ring beyond the first.
    pub ring_rows: u64,
    /// Idle memory that reports are copied to.
    pub reports: u64,
}

impl GpuRuntime {
    /// A runtime with the memory of one model, all zero.
    ///
    /// # Errors
    /// If the device has too little memory, or is lost.
    pub fn new(device: Device, memory: ModelMemory) -> Result<Self, BackendError> {
        let shared = Shared::new(&device, &memory)?;
        Ok(Self {
            device,
            shared,
            programs: Vec::new(),
            flights: VecDeque::new(),
            reports: VecDeque::new(),
            tickets: 0,
            progress: None,
            checked: false,
        })
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Has `progress` called while pipelines are built: pipelines done, pipelines in all.
    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// Whether kernels compiled from now on test every index and loop at run time. Off at first,
    /// because plans only load and store within their tensors; tests turn it on.
    pub fn set_checked(&mut self, checked: bool) {
        self.checked = checked;
    }

    /// The bytes of its buffers.
    pub fn memory_use(&self) -> MemoryUse {
        let mut sum = MemoryUse {
            planned: self.shared.bytes(),
            ..MemoryUse::default()
        };
        for program in &self.programs {
            let (planned, step_rows, ring_rows) = program.bytes();
            sum.planned += planned;
            sum.step_rows += step_rows;
            sum.ring_rows += ring_rows;
            sum.reports += program.stagings.iter().map(Staging::bytes).sum::<u64>();
        }
        sum
    }

    fn program(&self, id: ProgramId) -> Result<&Program, BackendError> {
        self.programs.get(id.0).ok_or_else(|| unknown(id))
    }

    /// Shaders and pipelines of a plan, on all cores.
    fn launches(&mut self, plan: &Plan) -> Result<Vec<Launch>, BackendError> {
        let mut sources = Vec::with_capacity(plan.kernels.len());
        let mut grids = Vec::with_capacity(plan.kernels.len());
        for (line, kernel) in plan.kernels.iter().enumerate() {
            let shader = kernels::shader(plan, kernel).map_err(|error| BackendError::Kernel {
                label: kernel.label.clone(),
                line,
                message: error.to_string(),
            })?;
            grids.push(shader.grid);
            sources.push(match self.checked {
                true => Source::checked(&kernel.label, &shader),
                false => Source::trusted(&kernel.label, &shader),
            });
        }
        let progress = Mutex::new(&mut self.progress);
        // An error is told below, where it is known which kernel has it.
        let _ = compile_all(&self.device, &sources, &|done, all| {
            if let Some(progress) = lock(&progress).as_mut() {
                progress(done, all);
            }
        });
        let kernels = plan.kernels.iter().zip(&sources).zip(grids).enumerate();
        kernels
            .map(|(line, ((kernel, source), grid))| {
                let pipeline = compile(&self.device, source);
                let pipeline = pipeline.map_err(|error| of_kernel(line, kernel, error))?;
                Ok(Launch {
                    pipeline,
                    grid,
                    seconds: estimate::seconds(plan, kernel),
                })
            })
            .collect()
    }

    /// One submit, or several where the estimated time is too long for one; one flight in any case.
    fn launch(
        &mut self,
        ticket: Ticket,
        id: ProgramId,
        rows: &[StepRow],
        inputs: &[u32],
    ) -> Result<(), BackendError> {
        while self.flights.len() >= IN_FLIGHT {
            self.land(Submission::wait_for_back_pressure)?;
        }
        let program = self.programs.get_mut(id.0).ok_or_else(|| unknown(id))?;
        let staging = match program.stagings.pop() {
            Some(staging) => staging,
            None => program.staging(&self.device)?,
        };
        let steps = rows.len();
        program.upload(rows, inputs)?;
        let all = steps * program.plan.kernels.len();
        let mut at = 0;
        let submission = loop {
            let end = program.part(at, steps);
            let mut commands = Commands::new(&self.device, &program.plan.name)?;
            program.record(&mut commands.pass(&program.plan.name), at..end, steps);
            if end == all {
                program.record_report(&mut commands, &staging, steps)?;
                break commands.submit()?;
            }
            commands.submit()?;
            at = end;
        };
        self.flights.push_back(Flight {
            ticket,
            program: id.0,
            steps,
            staging,
            submission,
        });
        Ok(())
    }

    /// Waits for the oldest submit and keeps its report.
    fn land(&mut self, wait: Wait) -> Result<(), TensorError> {
        let Some(flight) = self.flights.front_mut() else {
            return Ok(());
        };
        let Some(program) = self.programs.get_mut(flight.program) else {
            return Ok(());
        };
        let bytes = program.report_bytes(flight.steps);
        let report = flight.staging.read_when(&flight.submission, bytes, wait)?;
        let report = program.report(&report, flight.steps);
        match self.reports.back_mut() {
            Some((ticket, earlier)) if *ticket == flight.ticket => merge(earlier, report),
            _ => self.reports.push_back((flight.ticket, report)),
        }
        if let Some(flight) = self.flights.pop_front() {
            program.stagings.push(flight.staging);
        }
        Ok(())
    }
}

impl Runtime for GpuRuntime {
    fn compile(&mut self, plan: Arc<Plan>) -> Result<ProgramId, BackendError> {
        let launches = self.launches(&plan)?;
        // Everything is made before anything is changed: after an error all is as before.
        let mut shared = self.shared.clone();
        let replaced = shared.fit(&self.device, &plan)?;
        let program = Program::new(&self.device, plan, launches, &shared, IN_FLIGHT)?;
        if replaced {
            let programs = self.programs.iter();
            let bound = programs.map(|program| program.bound(&self.device, &shared));
            let bound = bound.collect::<Result<Vec<_>, _>>()?;
            for (program, dispatches) in self.programs.iter_mut().zip(bound) {
                program.rebind(dispatches);
            }
        }
        self.shared = shared;
        self.programs.push(program);
        Ok(ProgramId(self.programs.len() - 1))
    }

    fn write(&mut self, role: &Role, first: u64, words: &[u32]) -> Result<(), BackendError> {
        let buffer = self
            .shared
            .get(role)
            .filter(|_| shared::is_persistent(role));
        let buffer = buffer.ok_or_else(|| {
            BackendError::Access(format!("this model keeps no `{role}` between steps"))
        })?;
        let first = first.saturating_mul(WORD);
        Ok(buffer.write(first, bytemuck::cast_slice(words))?)
    }

    fn read(
        &mut self,
        program: ProgramId,
        role: &Role,
        first: u64,
        count: u64,
    ) -> Result<Vec<u32>, BackendError> {
        let program = self.program(program)?;
        let found = program.buffer(&self.shared, role);
        let (buffer, start) = found.ok_or_else(|| {
            BackendError::Access(format!("plan `{}` has no `{role}`", program.plan.name))
        })?;
        let first = start.saturating_add(first.saturating_mul(WORD));
        let bytes = buffer.read_range(first, count.saturating_mul(WORD))?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn submit(
        &mut self,
        program: ProgramId,
        rows: &[StepRow],
        upload: &[u32],
    ) -> Result<Ticket, BackendError> {
        self.check_call(program, rows, upload)?;
        let ticket = Ticket(self.tickets);
        for (i, rows) in rows.chunks(ROWS).enumerate() {
            // The inputs are the same for all rows, so they need not be written again.
            let inputs = if i == 0 { upload } else { &[] };
            self.launch(ticket, program, rows, inputs)?;
        }
        self.tickets += 1;
        Ok(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Report, BackendError> {
        while self.flights.front().is_some_and(|f| f.ticket <= ticket) {
            // With no room for another submit this is the wait that the next one would do.
            let wait: Wait = match self.flights.len() {
                IN_FLIGHT => Submission::wait_for_back_pressure,
                _ => Submission::wait,
            };
            self.land(wait)?;
        }
        while let Some((landed, report)) = self.reports.pop_front() {
            if landed == ticket {
                return Ok(report);
            }
        }
        self.device.check()?;
        let message = format!("ticket {} was waited for before, or never given", ticket.0);
        Err(BackendError::Access(message))
    }

    fn step_through(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Report, BackendError> {
        self.check_call(program, std::slice::from_ref(row), upload)?;
        through::step(
            &self.device,
            self.program(program)?,
            &self.shared,
            row,
            upload,
            observer,
        )
    }

    fn describe(&self) -> String {
        let info = self.device.info();
        let mut text = format!("{info}, {}", info.driver);
        for program in self.programs.iter().filter(|program| program.submits() > 1) {
            let (name, submits) = (&program.plan.name, program.submits());
            text += &format!("; a step of `{name}` takes {submits} submits");
        }
        text
    }
}

impl GpuRuntime {
    fn check_call(
        &self,
        id: ProgramId,
        rows: &[StepRow],
        upload: &[u32],
    ) -> Result<(), BackendError> {
        self.device.check()?;
        let plan = &self.program(id)?.plan;
        let (expected, found) = (bytes_of(plan, &Role::Upload) / WORD, upload.len() as u64);
        if expected != found {
            return Err(BackendError::Access(format!(
                "plan `{}` takes {expected} words of inputs, found {found}",
                plan.name
            )));
        }
        if rows.is_empty() {
            return Err(BackendError::Access("no step to run".into()));
        }
        Ok(())
    }
}

impl fmt::Debug for GpuRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuRuntime")
            .field("device", &self.device)
            .field("programs", &self.programs.len())
            .finish_non_exhaustive()
    }
}

/// Adds the report of later steps of one ticket.
fn merge(earlier: &mut Report, later: Report) {
    earlier.rows.extend(later.rows);
    for (bits, new) in earlier.errors.iter_mut().zip(later.errors) {
        *bits = new.max(*bits);
    }
}

fn unknown(id: ProgramId) -> BackendError {
    BackendError::Access(format!("there is no program {}", id.0))
}
