//! Timing the candidates for a kernel, on memory of their own.

use std::time::Instant;

use gradus_graph::plan::{Kernel, Plan};

use crate::kernels::Variant;
use crate::launch::{Launch, no_memory};
use crate::{BindGroup, Buffer, Commands, Device, Dispatch, STEP_ROW_BYTES, TensorError, wgpu};

/// Seconds of one submit: much more than it takes to hand it over.
const SUBMIT: f64 = 4e-3;

/// Dispatches in one submit.
const MOST: u32 = 256;

/// Turns of each candidate, of which the fastest counts.
const TURNS: usize = 5;

/// The table's choice stays unless another takes less than this share of its time.
const GAIN: f64 = 0.97;

/// The fastest of the candidates, of which the first is the table's choice.
///
/// All memory holds zeros: they are valid as indices, and the time of our kernels does not depend
/// on values.
pub(super) fn fastest(
    device: &Device,
    plan: &Plan,
    kernel: &Kernel,
    candidates: &[Variant],
) -> Result<Variant, TensorError> {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let row = Buffer::new(device, "autotune step row", STEP_ROW_BYTES, usage)?;
    let row = BindGroup::step_row(device, &row, 0)?;
    let memory = kernel.bindings.iter().map(|binding| {
        let buffer = Buffer::zeroed(device, "autotune", binding.bytes)?;
        Ok((binding, buffer))
    });
    let memory = memory.collect::<Result<Vec<_>, TensorError>>()?;
    let dispatch = |variant: &Variant| {
        let launch = Launch::new(device, plan, kernel, *variant)?;
        launch.dispatch(device, plan, kernel, |_, binding| {
            let mut found = memory.iter().filter(|(b, _)| std::ptr::eq(*b, binding));
            let (_, buffer) = found
                .next()
                .ok_or_else(|| no_memory(&kernel.label, "a buffer"))?;
            Ok(buffer.whole())
        })
    };
    let dispatches = candidates.iter().map(dispatch);
    let dispatches = dispatches.collect::<Result<Vec<_>, _>>()?;
    let mut times = 1;
    if let Some(first) = dispatches.first() {
        run(device, first, &row, 1)?; // The driver finishes compiling.
        while times < MOST && run(device, first, &row, times)? < SUBMIT {
            times *= 2;
        }
    }
    let mut best = vec![f64::INFINITY; candidates.len()];
    // One turn more: the first of each candidate is part of its compilation.
    for turn in 0..=TURNS {
        for (best, dispatch) in best.iter_mut().zip(&dispatches) {
            let seconds = run(device, dispatch, &row, times)?;
            if turn > 0 {
                *best = best.min(seconds);
            }
        }
    }
    let table = best.first().copied().unwrap_or(f64::INFINITY);
    let all = candidates.iter().zip(best);
    let least = all.min_by(|(_, a), (_, b)| a.total_cmp(b));
    let least = least.filter(|(_, seconds)| *seconds < GAIN * table);
    let fastest = least
        .map(|(variant, _)| *variant)
        .or(candidates.first().copied());
    fastest.ok_or_else(|| no_memory(&kernel.label, "no variant"))
}

/// Seconds of this many dispatches in a row.
fn run(
    device: &Device,
    dispatch: &Dispatch,
    row: &BindGroup,
    times: u32,
) -> Result<f64, TensorError> {
    let start = Instant::now();
    let mut commands = Commands::new(device, "autotune")?;
    let mut pass = commands.pass("autotune");
    if dispatch.pipeline().step_row() {
        pass.set_step_row(row);
    }
    for _ in 0..times {
        pass.dispatch(dispatch);
    }
    drop(pass);
    commands.submit()?.wait()?;
    Ok(start.elapsed().as_secs_f64())
}
