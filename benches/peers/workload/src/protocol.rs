//! One JSON document a line: requests on standard input, replies on standard output.
//! `python/contestant.py` speaks it too.

use std::fs;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{Task, Workload};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make this workload ready and do the first step.
    Prepare(Workload),
    /// Do this many steps one by one and show their results.
    Check(usize),
    /// Do this many steps.
    Turn(usize),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The first step is done.
    Prepared {
        /// Versions, device and driver.
        about: String,
        results: Vec<f64>,
    },
    Checked(Vec<f64>),
    Turned(Turn),
    /// This contestant has nothing to race with in this workload.
    Absent,
    Failed(String),
}

/// What a turn took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of processor time, of all threads.
    pub cpu: f64,
    /// Bytes of memory at most resident so far.
    pub peak: u64,
}

/// A task, and what to say of it: versions, device and driver.
type Prepared = (Box<dyn Task>, String);

/// Answers requests until there are no more; `prepare` gives `None` for workloads that the
/// contestant cannot do.
pub fn serve(prepare: impl Fn(Workload) -> Result<Option<Prepared>>) -> Result<()> {
    let mut task: Option<Box<dyn Task>> = None;
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        let reply = answer(&prepare, &mut task, request)
            .unwrap_or_else(|error| Reply::Failed(format!("{error:#}")));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&reply)?)?;
        out.flush()?;
    }
    Ok(())
}

fn answer(
    prepare: &impl Fn(Workload) -> Result<Option<Prepared>>,
    task: &mut Option<Box<dyn Task>>,
    request: Request,
) -> Result<Reply> {
    match request {
        Request::Prepare(workload) => {
            let Some((mut prepared, about)) = prepare(workload)? else {
                return Ok(Reply::Absent);
            };
            let results = wide(prepared.step()?);
            *task = Some(prepared);
            Ok(Reply::Prepared { about, results })
        }
        Request::Check(steps) => {
            let task = task.as_mut().context("nothing is prepared")?;
            let mut results = Vec::new();
            for _ in 0..steps {
                results.extend(wide(task.step()?));
            }
            Ok(Reply::Checked(results))
        }
        Request::Turn(steps) => {
            let task = task.as_mut().context("nothing is prepared")?;
            let (wall, cpu) = (Instant::now(), cpu_time()?);
            task.run(steps)?;
            Ok(Reply::Turned(Turn {
                wall: wall.elapsed().as_secs_f64(),
                cpu: (cpu_time()? - cpu).as_secs_f64(),
                peak: peak_memory()?,
            }))
        }
    }
}

fn wide(results: Vec<f32>) -> Vec<f64> {
    results.into_iter().map(f64::from).collect()
}

fn cpu_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::new(
        time.tv_sec.try_into()?,
        time.tv_nsec.try_into()?,
    ))
}

fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(1024
        * kib
            .context("no VmHWM in /proc/self/status")?
            .parse::<u64>()?)
}
