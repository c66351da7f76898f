//! A plan made ready for a device: pipelines, buffers of its own, and the flat list of dispatches.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use gradus_graph::backend::{BackendError, Report, StepRow};
use gradus_graph::plan::{Kernel, Plan, Role};
use gradus_graph::step_row;

use super::error::of_kernel;
use super::flight::IN_FLIGHT;
use super::shared::Shared;
use super::{MemoryUse, estimate};
use crate::buffer::WORD;
use crate::launch::{Launch, no_memory};
use crate::{
    BindGroup, Buffer, Commands, Device, Dispatch, Pass, STEP_ROW_BYTES, Staging, TensorError, wgpu,
};

/// Steps that one submit can hold: step rows, and rows of the ring.
pub(super) const ROWS: usize = 64;

/// Bytes of all step rows.
const ROW_BYTES: u64 = ROWS as u64 * STEP_ROW_BYTES;

/// A compiled plan.
pub(super) struct Program {
    pub(super) plan: Arc<Plan>,
    launches: Vec<Launch>,
    /// For each kernel an estimate of its time.
    seconds: Vec<f64>,
    /// For each launch, what it runs on; made anew when a shared buffer is replaced.
    dispatches: Vec<Dispatch>,
    /// Step rows, and right after them the inputs: the last rows and the inputs are one upload.
    upload: Buffer,
    rows: Vec<BindGroup>,
    /// Ring, outputs, literals, error words.
    own: BTreeMap<Role, Buffer>,
    /// Idle memory for reports.
    pub(super) stagings: Vec<Staging>,
}

impl Program {
    /// Makes the memory of a plan that it shares with no other, and binds all.
    pub(super) fn new(
        device: &Device,
        plan: Arc<Plan>,
        launches: Vec<Launch>,
        shared: &Shared,
    ) -> Result<Self, BackendError> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::UNIFORM | Usage::COPY_SRC | Usage::COPY_DST;
        let label = format!("{}/upload", plan.name);
        let bytes = ROW_BYTES + bytes_of(&plan, &Role::Upload);
        let upload = Buffer::new(device, &label, bytes, usage)?;
        let rows = (0..ROWS as u64).map(|row| BindGroup::step_row(device, &upload, row));
        let mut program = Self {
            rows: rows.collect::<Result<_, _>>()?,
            own: own_buffers(device, &plan)?,
            seconds: estimate::all(&plan),
            dispatches: Vec::new(),
            stagings: Vec::new(),
            plan,
            launches,
            upload,
        };
        program.dispatches = program.bound(device, shared)?;
        for _ in 0..IN_FLIGHT {
            program.stagings.push(program.staging(device)?);
        }
        Ok(program)
    }

    /// The dispatches over this memory.
    pub(super) fn bound(
        &self,
        device: &Device,
        shared: &Shared,
    ) -> Result<Vec<Dispatch>, BackendError> {
        let kernels = self.plan.kernels.iter().zip(&self.launches).enumerate();
        kernels
            .map(|(line, (kernel, launch))| {
                let dispatch = self.dispatch(device, shared, kernel, launch);
                dispatch.map_err(|error| of_kernel(&self.plan, line, error))
            })
            .collect()
    }

    pub(super) fn rebind(&mut self, dispatches: Vec<Dispatch>) {
        self.dispatches = dispatches;
    }

    fn dispatch(
        &self,
        device: &Device,
        shared: &Shared,
        kernel: &Kernel,
        launch: &Launch,
    ) -> Result<Dispatch, TensorError> {
        let dispatch = launch.dispatch(device, &self.plan, kernel, |role, binding| {
            let found = self.buffer(shared, role);
            let (buffer, start) = found.ok_or_else(|| no_memory(&kernel.label, role))?;
            match role {
                // The plan knows one row; the kernel is told where this step's is.
                Role::Ring => Ok(buffer.whole()),
                _ => buffer.range(start + binding.offset, binding.bytes),
            }
        })?;
        dispatch.validate(device, &kernel.label, self.rows.first())?;
        Ok(dispatch)
    }

    /// The buffer of a role, and the byte in it where the plan's begins.
    pub(super) fn buffer<'a>(
        &'a self,
        shared: &'a Shared,
        role: &Role,
    ) -> Option<(&'a Buffer, u64)> {
        match role {
            Role::Upload => Some((&self.upload, ROW_BYTES)),
            _ => Some((self.own.get(role).or_else(|| shared.get(role))?, 0)),
        }
    }

    /// Buffers of its own that every step writes anew.
    pub(super) fn transients(&self) -> impl Iterator<Item = &Buffer> {
        let roles = [Role::Outputs, Role::Ring].into_iter();
        roles.filter_map(|role| self.own.get(&role))
    }

    /// Writes the step rows and the inputs, as one upload. Rows of steps that are under way may be
    /// overwritten: the device does it after those steps.
    pub(super) fn upload(&self, rows: &[StepRow], inputs: &[u32]) -> Result<(), TensorError> {
        let mut words = Vec::with_capacity(rows.len() * step_row::WORDS);
        let mut ring = 0u32;
        for row in rows {
            let start = words.len() + step_row::RING as usize;
            words.extend_from_slice(row);
            if let Some(word) = words.get_mut(start) {
                *word = ring;
            }
            ring += u32::try_from(self.plan.ring_row).unwrap_or(0);
        }
        let first = ROW_BYTES - words.len() as u64 * WORD;
        let parts = [words.as_slice(), inputs].map(bytemuck::cast_slice);
        self.upload.write_parts(first, &parts)
    }

    /// Dispatches of this many steps.
    pub(super) fn launches(&self, steps: usize) -> usize {
        steps * self.dispatches.len()
    }

    /// The dispatches of one submit, from `at` on; all dispatches of `steps` steps are numbered.
    pub(super) fn part(&self, at: usize, steps: usize) -> Range<usize> {
        let (all, mut spent) = (self.launches(steps), 0.0);
        let longest = estimate::longest(self.plan.target.class);
        let times = self
            .seconds
            .iter()
            .cycle()
            .skip(at % self.seconds.len().max(1));
        for (i, seconds) in (at..all).zip(times) {
            spent += seconds;
            if spent > longest && i > at {
                return at..i;
            }
        }
        at..all
    }

    /// Submits that one step takes.
    pub(super) fn submits(&self) -> usize {
        let mut submits = 1;
        let mut part = self.part(0, 1);
        while part.end < self.launches(1) {
            part = self.part(part.end, 1);
            submits += 1;
        }
        submits
    }

    /// Records a [`Program::part`].
    pub(super) fn record(&self, pass: &mut Pass<'_>, range: Range<usize>, steps: usize) {
        let each = self.dispatches.len();
        let mut set = None;
        for i in range {
            let step = i / each;
            if set != Some(step)
                && let Some(row) = self.rows.get(ROWS - steps + step)
            {
                pass.set_step_row(row);
                set = Some(step);
            }
            if let Some(dispatch) = self.dispatches.get(i % each) {
                pass.dispatch(dispatch);
            }
        }
    }

    /// Records the copies of what `steps` steps report, and clears the error words.
    pub(super) fn record_report(
        &self,
        commands: &mut Commands,
        staging: &Staging,
        steps: usize,
    ) -> Result<(), TensorError> {
        if let Some(errors) = self.own.get(&Role::Errors) {
            commands.copy_to_staging(&errors.whole(), staging, 0)?;
            commands.clear(errors);
        }
        if let Some(ring) = self.own.get(&Role::Ring) {
            let rows = ring.range(0, self.row_bytes() * steps as u64)?;
            commands.copy_to_staging(&rows, staging, self.error_bytes())?;
        }
        Ok(())
    }

    /// Bytes that `steps` steps report.
    pub(super) fn report_bytes(&self, steps: usize) -> u64 {
        self.error_bytes() + self.row_bytes() * steps as u64
    }

    /// What those bytes say.
    pub(super) fn report(&self, bytes: &[u8], steps: usize) -> Report {
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
        let (errors, rows) = words.split_at((self.error_bytes() / WORD) as usize);
        let mut rows = rows.chunks_exact(self.plan.ring_row.max(1));
        let floats = |row: &[u32]| row.iter().map(|&w| f32::from_bits(w)).collect();
        Report {
            rows: (0..steps)
                .map(|_| rows.next().map(floats).unwrap_or_default())
                .collect(),
            errors: errors.iter().copied().take(self.plan.sites.len()).collect(),
        }
    }

    /// Memory for a report.
    pub(super) fn staging(&self, device: &Device) -> Result<Staging, TensorError> {
        let label = format!("{}/report", self.plan.name);
        Staging::new(device, &label, self.report_bytes(ROWS))
    }

    /// How a kernel is computed, for people.
    pub(super) fn how(&self, line: usize) -> String {
        self.launches
            .get(line)
            .map_or_else(String::new, Launch::how)
    }

    /// Adds the bytes of its own buffers.
    pub(super) fn add_memory_use(&self, sum: &mut MemoryUse) {
        let own: u64 = self.own.values().map(Buffer::padded_bytes).sum();
        let ring_rows = self.row_bytes() * (ROWS as u64 - 1);
        sum.planned += self.upload.padded_bytes() - ROW_BYTES + own - ring_rows;
        sum.step_rows += ROW_BYTES;
        sum.ring_rows += ring_rows;
    }

    fn row_bytes(&self) -> u64 {
        self.plan.ring_row as u64 * WORD
    }

    fn error_bytes(&self) -> u64 {
        self.own.get(&Role::Errors).map_or(0, Buffer::padded_bytes)
    }
}

/// Bytes of a role's buffer in a plan; 0 if it has none.
pub(super) fn bytes_of(plan: &Plan, role: &Role) -> u64 {
    let buffer = plan.buffers.iter().find(|b| b.role == *role);
    buffer.map_or(0, |b| b.bytes)
}

fn own_buffers(device: &Device, plan: &Plan) -> Result<BTreeMap<Role, Buffer>, TensorError> {
    let mut own = BTreeMap::new();
    for role in [Role::Ring, Role::Outputs, Role::Errors, Role::Literals] {
        let rows = if role == Role::Ring { ROWS as u64 } else { 1 };
        let bytes = bytes_of(plan, &role).saturating_mul(rows);
        if bytes > 0 {
            let label = format!("{}/{role}", plan.name);
            own.insert(role, Buffer::zeroed(device, &label, bytes)?);
        }
    }
    if let Some(literals) = own.get(&Role::Literals) {
        for (value, array) in &plan.literals {
            if let Some(value) = plan.values.get(value.index()) {
                literals.write(value.offset, bytemuck::cast_slice(&array.to_words()))?;
            }
        }
    }
    Ok(own)
}
