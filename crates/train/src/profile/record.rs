//! Recording steps as they run.

use std::time::Instant;

use gradus_graph::timeline::Timeline;

use crate::engine::Handle;
use crate::{Error, Model};

/// Steps that were profiled, in order.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    start: Instant,
    pub(super) steps: Vec<Step>,
}

/// One step that was profiled.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Its number in training.
    pub(super) number: u64,
    /// Seconds from the beginning of the recording to that of the step.
    pub(super) begin: f64,
    pub(super) timeline: Timeline,
}

impl Recording {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            steps: Vec::new(),
        }
    }
}

impl Model {
    /// Runs one training step and records it.
    pub(super) fn record(
        &mut self,
        recording: &mut Recording,
        (step, program): (usize, Handle),
        first: u32,
        samples: usize,
    ) -> Result<(), Error> {
        self.engine.drain()?;
        let (row, number) = (self.row(step, 0, first), self.steps());
        let begin = recording.start.elapsed().as_secs_f64();
        let timeline = self.engine.profile(program, &row, number, samples)?;
        self.advance(step, 1);
        recording.steps.push(Step {
            number,
            begin,
            timeline,
        });
        Ok(())
    }
}
