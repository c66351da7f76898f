//! When things happened during a step that was profiled.

use std::time::Instant;

/// A stretch of time, in seconds from the beginning of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// When it began.
    pub begin: f64,
    /// When it ended: not before it began.
    pub end: f64,
}

impl Span {
    /// How long it took, in seconds.
    pub fn seconds(self) -> f64 {
        self.end - self.begin
    }
}

/// One step, as [`Runtime::profile`](crate::backend::Runtime::profile) saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// What the kernels were timed with, for people.
    pub clock: &'static str,
    /// Each kernel of the plan, in order.
    pub kernels: Vec<KernelTime>,
    /// What the host did, one thing after another.
    pub host: Vec<(&'static str, Span)>,
}

/// One kernel that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// How the device computed it, for people: variant and grid.
    pub how: String,
    /// When it ran.
    pub span: Span,
}

/// The host's clock, from the beginning of a step on.
#[derive(Debug)]
pub struct Stopwatch {
    start: Instant,
    last: f64,
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            last: 0.0,
        }
    }

    /// The time since the last lap.
    pub fn lap(&mut self) -> Span {
        let begin = self.last;
        self.last = self.start.elapsed().as_secs_f64();
        Span {
            begin,
            end: self.last,
        }
    }
}
