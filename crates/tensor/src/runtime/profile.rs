//! One step, with the time of every kernel.

use std::slice::from_ref;

use gradus_graph::backend::{BackendError, Report, StepRow};
use gradus_graph::timeline::{KernelTime, Span, Stopwatch, Timeline};

use super::program::Program;
use super::through;
use crate::timestamps::Timestamps;
use crate::{Commands, Device, Submission, TensorError};

/// Runs a step as it is always run, in the same submits, with readings of the device's clock
/// around each kernel.
pub(super) fn step(
    device: &Device,
    program: &Program,
    row: &StepRow,
    upload: &[u32],
) -> Result<(Report, Timeline), BackendError> {
    let (all, name) = (program.launches(1), &program.plan.name);
    let Some(timestamps) = Timestamps::new(device, all)? else {
        return Ok(on_the_host_clock(device, program, row, upload)?);
    };
    let mut staging = program.staging(device)?;
    let mut watch = Stopwatch::start();
    program.upload(from_ref(row), upload)?;
    let upload = watch.lap();
    let mut host = vec![("upload", upload)];
    let mut part = program.part(0, 1);
    let submission = loop {
        let mut commands = Commands::new(device, name)?;
        timestamps.record(&mut commands, name, part.clone(), |pass, line| {
            program.record(pass, line..line + 1, 1);
        });
        let is_last = part.end == all;
        if is_last {
            program.record_report(&mut commands, &staging, 1)?;
            timestamps.resolve(&mut commands);
        }
        let submission = commands.submit()?;
        host.push(("submit", watch.lap()));
        if is_last {
            break submission;
        }
        part = program.part(part.end, 1);
    };
    let bytes = staging.read_when(&submission, program.report_bytes(1), Submission::wait)?;
    host.push(("wait", watch.lap()));
    // The two clocks have different origins; no kernel begins before the first submit.
    let spans = timestamps.read()?.into_iter().map(|span| Span {
        begin: upload.end + span.begin,
        end: upload.end + span.end,
    });
    let timeline = timeline(program, timestamps.clock(), spans, host);
    Ok((program.report(&bytes, 1), timeline))
}

/// For devices that do not tell the time.
fn on_the_host_clock(
    device: &Device,
    program: &Program,
    row: &StepRow,
    upload: &[u32],
) -> Result<(Report, Timeline), TensorError> {
    let mut watch = Stopwatch::start();
    program.upload(from_ref(row), upload)?;
    let upload = watch.lap();
    let mut spans = Vec::new();
    for line in 0..program.launches(1) {
        through::run(device, program, line)?;
        spans.push(watch.lap());
    }
    let report = through::report(device, program)?;
    let run = Span {
        begin: upload.end,
        end: watch.lap().end,
    };
    let clock = "host clock, one submit for each kernel: its latency is included";
    let host = vec![("upload", upload), ("run", run)];
    let timeline = timeline(program, clock, spans.into_iter(), host);
    Ok((report, timeline))
}

fn timeline(
    program: &Program,
    clock: &'static str,
    spans: impl Iterator<Item = Span>,
    host: Vec<(&'static str, Span)>,
) -> Timeline {
    let kernel = |(line, span)| KernelTime {
        how: program.how(line),
        span,
    };
    Timeline {
        clock,
        kernels: spans.enumerate().map(kernel).collect(),
        host,
    }
}
