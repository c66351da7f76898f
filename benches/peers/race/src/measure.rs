//! Starts contestants, checks their results and lets them take turns.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use workload::{Expected, Reply, Request, Turn, Workload};

use crate::contestant::{Contestant, Side};
use crate::process::Process;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Turns of each contestant.
    pub(crate) rounds: usize,
    /// How long a turn should take.
    turn: Duration,
    /// Start everyone twice, the second time with what the first left in caches.
    warm_start: bool,
}

/// Who is further off than so many tolerances computes something else and does not race.
const TOO_WRONG: f64 = 1000.0;

/// Turns of a contestant whose steps are much longer than a turn.
const FEWEST_ROUNDS: usize = 3;

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 21,
        turn: Duration::from_millis(300),
        warm_start: true,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        turn: Duration::from_millis(50),
        warm_start: false,
    };
}

/// How a contestant did.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) side: Side,
    pub(crate) result: Result<Figures>,
}

pub(crate) struct Figures {
    /// Versions, device and driver.
    about: String,
    /// The worst of its results, if that is further off than it may be.
    pub(crate) deviation: Option<String>,
    /// Seconds from the start of the process to the end of the first step, without anything in
    /// caches and with what that left there.
    pub(crate) cold: f64,
    pub(crate) warm: Option<f64>,
    /// Steps of a turn, and the turns.
    pub(crate) steps: usize,
    pub(crate) turns: Vec<Turn>,
}

impl Outcome {
    pub(crate) fn about(&self) -> Option<&str> {
        Some(&self.result.as_ref().ok()?.about)
    }
}

/// Everyone that can do this workload.
pub(crate) fn race(
    workload: &Workload,
    contestants: &[Contestant],
    effort: Effort,
) -> Result<Vec<Outcome>> {
    let expected = workload.expected();
    let scratch = tempfile::tempdir()?;
    let mut racing = Vec::new();
    for (i, contestant) in contestants.iter().enumerate() {
        let folder = scratch.path().join(i.to_string());
        let entered = enter(workload, contestant, &expected, &folder, effort);
        if let Some(entry) = entered.transpose() {
            racing.push((contestant, entry));
        }
    }
    let limit = 10.0 * effort.turn.as_secs_f64();
    for round in 0..effort.rounds {
        for k in 0..racing.len() {
            // Another one begins each round: nobody always runs after the same neighbour.
            let i = (k + round) % racing.len();
            let Ok((process, figures)) = &mut racing[i].1 else {
                continue;
            };
            let slow = figures.turns.last().is_some_and(|turn| turn.wall > limit);
            if slow && round >= FEWEST_ROUNDS {
                continue;
            }
            match process.turn(figures.steps) {
                Ok(turn) => figures.turns.push(turn),
                Err(error) => racing[i].1 = Err(error),
            }
        }
    }
    let outcome = |(contestant, entry): (&Contestant, Result<(Process, Figures)>)| Outcome {
        name: contestant.name.clone(),
        side: contestant.side,
        result: entry.map(|(_, figures)| figures),
    };
    Ok(racing.into_iter().map(outcome).collect())
}

/// Starts a contestant, checks its results and warms it up; `None` if it cannot do this workload.
fn enter(
    workload: &Workload,
    contestant: &Contestant,
    expected: &[Expected],
    folder: &Path,
    effort: Effort,
) -> Result<Option<(Process, Figures)>> {
    let Some((mut process, cold, mut about, mut results)) = start(workload, contestant, folder)?
    else {
        return Ok(None);
    };
    let mut warm = None;
    if effort.warm_start {
        drop(process);
        let again = start(workload, contestant, folder)?;
        let seconds;
        (process, seconds, about, results) = again.context("it had started before")?;
        warm = Some(seconds);
    }
    match process.ask(&Request::Check(workload.checked_steps() - 1))? {
        Reply::Checked(more) => results.extend(more),
        other => bail!("unexpected reply {other:?}"),
    }
    let deviation = check(expected, &results)?;
    let steps = calibrate(&mut process, effort.turn)?;
    let figures = Figures {
        about,
        deviation,
        cold,
        warm,
        steps,
        turns: Vec::new(),
    };
    Ok(Some((process, figures)))
}

/// A contestant after its first step: seconds that took, what it is, and the step's results.
type Started = (Process, f64, String, Vec<f64>);

fn start(workload: &Workload, contestant: &Contestant, folder: &Path) -> Result<Option<Started>> {
    let began = Instant::now();
    let mut process = Process::start(contestant, folder)?;
    match process.ask(&Request::Prepare(workload.clone()))? {
        Reply::Absent => Ok(None),
        Reply::Prepared { about, results } => Ok(Some((
            process,
            began.elapsed().as_secs_f64(),
            about,
            results,
        ))),
        other => bail!("unexpected reply {other:?}"),
    }
}

/// Fails if a result is wrong; names the worst if it is only worse than rounding explains.
fn check(expected: &[Expected], results: &[f64]) -> Result<Option<String>> {
    let (count, found) = (expected.len(), results.len());
    ensure!(count == found, "wrong: {found} results, expected {count}");
    let errors = expected.iter().zip(results).map(|(expected, found)| {
        let error = (found - expected.value).abs() / expected.tolerance;
        // NaN compares with nothing.
        if error.is_nan() { f64::INFINITY } else { error }
    });
    let Some((i, error)) = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Ok(None);
    };
    let worst = format!(
        "result {i} is {:.6}, expected {:.6}",
        results[i], expected[i].value
    );
    ensure!(error <= TOO_WRONG, "wrong: {worst}");
    Ok((error > 1.0).then_some(worst))
}

/// Warms up, and finds how many steps fill a turn.
fn calibrate(process: &mut Process, turn: Duration) -> Result<usize> {
    let turn = turn.as_secs_f64();
    let mut steps = 1;
    loop {
        let wall = process.turn(steps)?.wall;
        if wall > turn / 4.0 {
            return Ok(((steps as f64 * turn / wall).round() as usize).max(1));
        }
        ensure!(steps < 1 << 30, "steps take no time");
        steps *= 2;
    }
}
