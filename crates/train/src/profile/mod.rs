//! Where the time of a training step goes.

mod peak;
mod profiler;
mod record;
mod table;
mod trace;

use crate::trace::last_phase;
use gradus_graph::plan::{Kernel, Plan};
use gradus_graph::timeline::Timeline;

use crate::engine::Handle;
use crate::supervised::TRAIN;
use crate::{Error, Model};

pub use peak::{Peak, Roof};
pub(crate) use profiler::Profiler;

use record::Recording;

/// Steps before those that are profiled: caches fill, and drivers finish compiling.
const WARM_UP: usize = 3;

/// Where the time of a training step goes, kernel by kernel: what [`Model::profile`] found.
///
/// Prints as a table; [`Profile::save`] writes a trace. The example `digits` on two cores:
///
/// ```text
/// profile of a step on CPU (AMD EPYC, 2 threads)
///   host clock; median of 20
///     # kernel                         how          time  share     GB/s  GFLOP/s  of peak
///     0 2/matmul+add+relu+mul+select   gemm      8.16 µs   17 %     9.10     67.2   34 % memory
///     1 4/matmul+add+relu              gemm      14.9 µs   30 %     3.86     35.4   15 % compute
///     2 5/matmul                       gemm      1.32 µs    3 %     9.10     31.0   34 % memory
///     3 add+max+sub+check_index…       program   3.21 µs    7 %     0.93     1.23    3 % memory
///     4 5/matmul                       gemm      0.69 µs    1 %     17.5     59.7   64 % memory
///     5 4/matmul+gt+select             gemm      0.85 µs    2 %     23.8     52.9   88 % memory
///     6 3/matmul                       gemm      2.73 µs    6 %     21.1      193   79 % compute
///     7 1/matmul+select+mul+gt+select  gemm      6.37 µs   13 %     11.6     86.2   43 % memory
///     8 0/matmul                       gemm      2.80 µs    6 %     20.6      188   77 % compute
///     9 optimizer/update               program   8.02 µs   16 %     60.3     28.0  223 % memory
///       all kernels                              49.1 µs  100 %     17.4     61.9   64 % memory
///   a step alone 50.8 µs, of which no kernel runs in 1.69 µs (3 %)
///   peak: copy 27.1 GB/s, matmul 243 GFLOP/s
/// ```
///
/// `of peak` is the share of the nearer roof ([`Peak::share`]): the optimizer's vectors stay in a
/// cache between steps, hence more than all of memory's.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The device and its driver.
    pub device: String,
    /// What the kernels were timed with.
    pub clock: &'static str,
    /// What this device reached at that moment.
    pub peak: Peak,
    /// Each kernel of the plan, in order.
    pub kernels: Vec<KernelProfile>,
    /// Median seconds of a step alone, from its upload to its report. Steps in a row take less:
    /// the host prepares the next one while the device works.
    pub step: f64,
    recording: Recording,
}

/// One kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelProfile {
    /// Layer and ops.
    pub label: String,
    /// How the device computes it: variant and grid.
    pub how: String,
    /// Median seconds; 0 if it took less than the clock can tell.
    pub seconds: f64,
    /// Bytes that it reads and writes, each operand once, as the plan counts them.
    pub bytes: u64,
    /// Floating-point operations, as the plan counts them.
    pub flops: u64,
}

impl KernelProfile {
    /// Bytes a second; not finite if the time is 0.
    pub fn bandwidth(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }

    /// Floating-point operations a second; not finite if the time is 0.
    pub fn rate(&self) -> f64 {
        self.flops as f64 / self.seconds
    }
}

impl Profile {
    fn new(device: String, plan: &Plan, peak: Peak, recording: Recording) -> Self {
        let steps = || recording.steps.iter().map(|step| &step.timeline);
        let kernel = |(line, kernel): (usize, &Kernel)| {
            let times = steps().filter_map(|step| step.kernels.get(line));
            let how = times.clone().next().map(|time| time.how.clone());
            KernelProfile {
                label: kernel.label.clone(),
                how: how.unwrap_or_default(),
                seconds: median(times.map(|time| time.span.seconds())),
                bytes: plan.traffic(kernel),
                flops: kernel.flops,
            }
        };
        Self {
            device,
            clock: steps().next().map_or("", |step| step.clock),
            peak,
            kernels: plan.kernels.iter().enumerate().map(kernel).collect(),
            step: median(steps().map(wall)),
            recording,
        }
    }

    /// All kernels as if they were one.
    pub fn total(&self) -> KernelProfile {
        let kernels = || self.kernels.iter();
        KernelProfile {
            label: "all kernels".into(),
            how: String::new(),
            seconds: kernels().map(|kernel| kernel.seconds).sum(),
            bytes: kernels().map(|kernel| kernel.bytes).sum(),
            flops: kernels().map(|kernel| kernel.flops).sum(),
        }
    }
}

impl Model {
    /// Times each kernel of some training steps, at least one, after a few to warm up, and
    /// compares it with what the device reaches at that moment: copying memory, and multiplying
    /// large matrices.
    ///
    /// The batch is taken from the data that the model was compiled for. The model stays as it
    /// is. During [`Model::fit`] the environment variable `GRADUS_PROFILE` does the same.
    ///
    /// # Errors
    /// If the device fails, or has no room for the largest array to copy: 128 MiB in all.
    pub fn profile(&mut self, steps: usize) -> Result<Profile, Error> {
        self.profile_step(TRAIN, steps)
    }

    /// As [`Model::profile`], for a step of this name.
    ///
    /// # Errors
    /// As [`Model::profile`]; also if there is no such step.
    pub fn profile_step(&mut self, name: &str, steps: usize) -> Result<Profile, Error> {
        let step = self.find(name)?;
        self.unchanged(|model, _| {
            let (samples, resident) = (model.spec.batch, model.is_resident(step));
            let key = (step, samples, resident);
            let update = model
                .defined
                .get(step)
                .and_then(|d| d.definition.update.as_ref());
            let last = last_phase(update);
            let timed = model.program_in(key, last)?;
            let mut recording = Recording::new();
            let mut seen = 0;
            while seen < WARM_UP + steps.max(1) {
                let program = model.program(key)?;
                model.feed_sample(step, program)?;
                if program == timed && seen >= WARM_UP {
                    model.record(&mut recording, (step, program), 0, samples)?;
                } else {
                    model.train((step, program), &[0], samples)?;
                }
                seen += usize::from(program == timed);
            }
            // Their reports are about a batch that nobody asked for.
            model.engine.take_done().for_each(drop);
            model.profile_of(timed, recording)
        })
    }

    fn profile_of(&self, program: Handle, recording: Recording) -> Result<Profile, Error> {
        let plan = self.engine.plan(program)?;
        let peak = Peak::measure(&self.device)?;
        Ok(Profile::new(self.engine.describe(), &plan, peak, recording))
    }
}

/// From the first thing that the host did to the last.
fn wall(step: &Timeline) -> f64 {
    step.host.last().map_or(0.0, |(_, span)| span.end)
}

/// The middle of some numbers, the upper one of two; 0 if there are none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
