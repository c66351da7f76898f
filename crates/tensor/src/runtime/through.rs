//! One step, kernel by kernel, with what each one read and wrote.

use gradus_graph::backend::{BackendError, Observer, Report};
use gradus_graph::bf16;
use gradus_graph::plan::{Kernel, ValueId};

use super::error::of_kernel;
use super::program::Program;
use super::shared::Shared;
use crate::{Commands, Device, Submission, TensorError};

/// Runs the step that was uploaded; every kernel is a submit of its own.
pub(super) fn step(
    device: &Device,
    program: &Program,
    shared: &Shared,
    observer: &mut Observer<'_>,
) -> Result<Report, BackendError> {
    for (line, kernel) in program.plan.kernels.iter().enumerate() {
        let failed = |error| of_kernel(&program.plan, line, error);
        let read = kernel.operands.iter().map(|o| o.reads);
        let before = operands(program, shared, kernel, read).map_err(failed)?;
        run(device, program, line).map_err(failed)?;
        let written = kernel.operands.iter().map(|o| o.writes);
        let after = operands(program, shared, kernel, written).map_err(failed)?;
        observer(line, &before, &after)?;
    }
    Ok(report(device, program)?)
}

/// What the step reported, read after its last kernel ran.
pub(super) fn report(device: &Device, program: &Program) -> Result<Report, TensorError> {
    let mut staging = program.staging(device)?;
    let mut commands = Commands::new(device, &program.plan.name)?;
    program.record_report(&mut commands, &staging, 1)?;
    let submission = commands.submit()?;
    let bytes = staging.read_when(&submission, program.report_bytes(1), Submission::wait)?;
    Ok(program.report(&bytes, 1))
}

/// Runs one kernel of the step that was uploaded, and waits for it.
pub(super) fn run(device: &Device, program: &Program, line: usize) -> Result<(), TensorError> {
    let mut commands = Commands::new(device, &program.plan.name)?;
    program.record(&mut commands.pass(&program.plan.name), line..line + 1, 1);
    commands.submit()?.wait()
}

/// The elements of these values as words, each read from its own range only. A value in the ring lies in the
/// first row: the one this step writes.
fn operands(
    program: &Program,
    shared: &Shared,
    kernel: &Kernel,
    values: impl Iterator<Item = Option<ValueId>>,
) -> Result<Vec<Option<Vec<u32>>>, TensorError> {
    let read = |v: ValueId| {
        let value = program.plan.values.get(v.index());
        let buffer = value.and_then(|v| program.plan.buffers.get(v.buffer.index()));
        let place = buffer.and_then(|b| program.buffer(shared, &b.role));
        let (Some(value), Some((buffer, start))) = (value, place) else {
            return Err(TensorError::Validation {
                label: kernel.label.clone(),
                message: "an operand has no place in memory".into(),
            });
        };
        let bytes = buffer.read_range(start + value.offset, value.bytes())?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        if !value.packed {
            return Ok(words);
        }
        let elements = 0..value.meta.shape.numel();
        Ok(elements.map(|i| bf16::unpacked(&words, i)).collect())
    };
    values.map(|v| v.map(read).transpose()).collect()
}
