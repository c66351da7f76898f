//! Runs plans on a device.
//!
//! A submit is one upload, one encoder, one compute pass: step rows and inputs are written at
//! once, the dispatches of all steps are recorded from a flat list, and after the pass what they
//! report is copied to memory that the host reads some steps later. At most three submits are
//! under way; a further one first waits for the oldest.

mod choice;
mod error;
mod estimate;
mod flight;
mod profile;
mod program;
mod shared;
mod through;

use std::fmt;
use std::sync::{Arc, Mutex};

use gradus_graph::backend::{
    BackendError, ModelMemory, Observer, ProgramId, Report, Runtime, StepRow, Ticket,
};
use gradus_graph::plan::{Kernel, Plan, Role};
use gradus_graph::timeline::Timeline;

use crate::buffer::WORD;
use crate::health::lock;
use crate::launch::launches;
use crate::tuning::Tuning;
use crate::{Device, Staging};
use choice::Choice;
use error::of_kernel;
use flight::Flights;
use program::{Program, ROWS, bytes_of};
use shared::Shared;

/// Called with the pipelines made so far and all there are.
pub type Progress = Box<dyn FnMut(usize, usize) + Send>;

/// A [`Runtime`] on a GPU, or on a software device that plays one.
pub struct GpuRuntime {
    device: Device,
    shared: Shared,
    programs: Vec<Program>,
    flights: Flights,
    tickets: u64,
    progress: Option<Progress>,
    checked: bool,
    choice: Choice,
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
    /// Memory that reports are copied to, unless a submit under way holds it.
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
            flights: Flights::default(),
            tickets: 0,
            progress: None,
            checked: false,
            choice: Choice::default(),
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

    /// Has kernels compiled from now on computed in this one of their [`variants`], counted round,
    /// whatever the table says. A test hook: all of them must give the same values.
    ///
    /// [`variants`]: crate::kernels::variants
    pub fn force_variant(&mut self, number: usize) {
        self.choice = Choice::Forced(number);
    }

    /// Has kernels compiled from now on computed in the variants that are fastest on this device,
    /// as far as this knows them; the others are measured and added.
    pub fn tune(&mut self, tuning: Arc<Tuning>) {
        self.choice = Choice::Tuned(tuning);
    }

    /// Fills with this word everything that a step must write before it reads it: slots, outputs
    /// and the ring. A test hook: with NaN in it, a kernel that reads too much is noticed.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn overwrite_transients(&mut self, word: u32) -> Result<(), BackendError> {
        let slots = self.shared.slots();
        let own = self.programs.iter().flat_map(Program::transients);
        for buffer in slots.chain(own) {
            let words = vec![word; (buffer.bytes() / WORD) as usize];
            buffer.write(0, bytemuck::cast_slice(&words))?;
        }
        Ok(())
    }

    /// The bytes of its buffers.
    pub fn memory_use(&self) -> MemoryUse {
        let mut sum = MemoryUse {
            planned: self.shared.bytes(),
            ..MemoryUse::default()
        };
        for program in &self.programs {
            program.add_memory_use(&mut sum);
            sum.reports += program.stagings.iter().map(Staging::bytes).sum::<u64>();
        }
        sum
    }

    fn program(&self, id: ProgramId) -> Result<&Program, BackendError> {
        let unknown = || BackendError::Access(format!("there is no program {}", id.0));
        self.programs.get(id.0).ok_or_else(unknown)
    }

    /// What every run asks first.
    fn check_call(
        &self,
        id: ProgramId,
        rows: &[StepRow],
        inputs: &[u32],
    ) -> Result<(), BackendError> {
        self.device.check()?;
        let plan = &self.program(id)?.plan;
        let (expected, found) = (bytes_of(plan, &Role::Upload) / WORD, inputs.len() as u64);
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

impl Runtime for GpuRuntime {
    fn compile(&mut self, plan: Arc<Plan>) -> Result<ProgramId, BackendError> {
        let progress = Mutex::new(&mut self.progress);
        let pick = |plan: &Plan, kernel: &Kernel| self.choice.pick(&self.device, plan, kernel);
        let launches = launches(&self.device, &plan, self.checked, &pick, &|done, all| {
            if let Some(progress) = lock(&progress).as_mut() {
                progress(done, all);
            }
        });
        let launches = launches.map_err(|(line, error)| of_kernel(&plan, line, error))?;
        // Everything is made before anything is changed: after an error all is as before.
        let mut shared = self.shared.clone();
        let replaced = shared.fit(&self.device, &plan)?;
        let program = Program::new(&self.device, plan, launches, &shared)?;
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
        // Spent even if what follows fails half-way, so that no later report is mixed with it.
        self.tickets += 1;
        // The inputs are the same for all rows, so they are written once.
        let mut inputs = upload;
        for rows in rows.chunks(ROWS) {
            let (device, programs) = (&self.device, &mut self.programs);
            let flights = &mut self.flights;
            flights.start(device, programs, (ticket, program), rows, inputs)?;
            inputs = &[];
        }
        Ok(ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Report, BackendError> {
        self.device.check()?;
        self.flights.finish(&mut self.programs, ticket)
    }

    fn step_through(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Report, BackendError> {
        self.check_call(program, std::slice::from_ref(row), upload)?;
        let program = self.program(program)?;
        program.upload(std::slice::from_ref(row), upload)?;
        through::step(&self.device, program, &self.shared, observer)
    }

    fn profile(
        &mut self,
        program: ProgramId,
        row: &StepRow,
        upload: &[u32],
    ) -> Result<(Report, Timeline), BackendError> {
        self.check_call(program, std::slice::from_ref(row), upload)?;
        profile::step(&self.device, self.program(program)?, row, upload)
    }

    fn describe(&self) -> String {
        let info = self.device.info();
        let mut text = format!("{info}, {}", info.driver);
        for program in &self.programs {
            match program.submits() {
                1 => {}
                n => text += &format!("; a step of `{}` takes {n} submits", program.plan.name),
            }
        }
        text
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
