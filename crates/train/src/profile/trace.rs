//! A profile as a trace: what <https://ui.perfetto.dev> and `chrome://tracing` open.
//!
//! Source: *Trace Event Format*, Google.

use std::path::Path;

use gradus_graph::timeline::Span;
use serde_json::{Value, json};

use super::Profile;
use super::record::Step;
use crate::Error;

/// Tracks of the trace.
const HOST: u32 = 1;
const DEVICE: u32 = 2;

impl Profile {
    /// Writes all steps as Chrome trace events in JSON: open the file at
    /// <https://ui.perfetto.dev>. One track is the device with its kernels, one the host.
    ///
    /// Where kernels were timed by the device's clock, they stand from the step's submit on, the
    /// earliest that they can have begun.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write(path.as_ref(), &self.trace().to_string())
    }

    fn trace(&self) -> Value {
        let tracks = [
            named("process_name", HOST, &self.device),
            named("thread_name", HOST, "host"),
            named("thread_name", DEVICE, "device"),
        ];
        let steps = self.recording.steps.iter().flat_map(|s| self.events(s));
        let events: Vec<Value> = tracks.into_iter().chain(steps).collect();
        json!({"traceEvents": events, "displayTimeUnit": "ms"})
    }

    fn events(&self, step: &Step) -> Vec<Value> {
        let event = |track, name: &str, span: Span, args: Value| {
            let (ts, dur) = (1e6 * (step.begin + span.begin), 1e6 * span.seconds());
            json!({
                "ph": "X", "pid": 1, "tid": track, "name": name, "ts": ts, "dur": dur, "args": args,
            })
        };
        let timeline = &step.timeline;
        let whole = Span {
            begin: 0.0,
            end: super::wall(timeline),
        };
        let name = format!("step {}", step.number);
        let mut events = vec![event(HOST, &name, whole, json!({"clock": timeline.clock}))];
        let host = timeline.host.iter();
        events.extend(host.map(|&(what, span)| event(HOST, what, span, json!({}))));
        let kernels = self.kernels.iter().zip(&timeline.kernels).enumerate();
        events.extend(kernels.map(|(line, (kernel, time))| {
            let args = json!({
                "line": line, "how": kernel.how, "bytes": kernel.bytes, "flops": kernel.flops,
            });
            event(DEVICE, &kernel.label, time.span, args)
        }));
        events
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|error| Error::Write {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

/// Gives the process or a track its name.
fn named(what: &str, track: u32, name: &str) -> Value {
    json!({"ph": "M", "pid": 1, "tid": track, "name": what, "args": {"name": name}})
}
