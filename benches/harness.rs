//! Timing: contestants of a case take turns, so that a machine that slows down slows them all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::planned::Planned;

/// Something to do, and several ways of doing it. Their results have been checked.
pub(crate) struct Case<'a> {
    /// What: `matmul 512`.
    pub(crate) name: String,
    /// In what a rate is given: `GFLOP/s`.
    pub(crate) unit: &'static str,
    /// How many of these units one run is.
    pub(crate) amount: f64,
    /// The first is what the others are compared with.
    pub(crate) contestants: Vec<Contestant<'a>>,
}

/// One way of doing it.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    /// Does it this many times and returns when all is done.
    pub(crate) run: Box<dyn FnMut(usize) -> Result<()> + 'a>,
}

impl Contestant<'static> {
    /// Plans that are run again and again.
    pub(crate) fn planned(name: String, mut planned: Planned) -> Self {
        Self {
            name,
            run: Box::new(move |times| planned.run(times)),
        }
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Times that what cannot be repeated in a turn is done.
    pub(crate) repeats: usize,
    /// Turns of each contestant.
    pub(crate) rounds: usize,
    /// How long a turn should take.
    pub(crate) turn: Duration,
}

/// What a contestant did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// By the clock.
    pub(crate) wall: Rates,
    /// By processor time of all threads: what holds on a machine that does other work besides.
    /// `None` where it is not known.
    pub(crate) cpu: Option<Rates>,
}

/// Units a second, and in units of the first contestant's in the same round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) rate: Spread,
    pub(crate) relative: Spread,
}

/// The middle of some numbers, and the quarters below and above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let position = share * (values.len() as f64 - 1.0);
            let (below, above) = (position.floor() as usize, position.ceil() as usize);
            let value = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
            value(below) + (value(above) - value(below)) * position.fract()
        };
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }
}

/// One turn: how long it took, on the clock and on all processors together.
#[derive(Clone, Copy, Debug)]
struct Turn {
    wall: f64,
    cpu: Option<f64>,
}

/// Lets the contestants take turns.
pub(crate) fn measure(case: &mut Case<'_>, effort: Effort) -> Result<Vec<Outcome>> {
    let counts: Vec<usize> = case
        .contestants
        .iter_mut()
        .map(|c| calibrate(c, effort.turn))
        .collect::<Result<_>>()?;
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); counts.len()];
    for round in 0..effort.rounds {
        for k in 0..counts.len() {
            // Another one begins each round: nobody always runs after the same neighbour.
            let i = (k + round) % counts.len();
            turns[i].push(take_turn(&mut case.contestants[i], counts[i])?);
        }
    }
    let outcomes = case.contestants.iter().enumerate().map(|(i, contestant)| {
        let rates = |seconds: fn(&Turn) -> Option<f64>| {
            let of = |i: usize| -> Option<Vec<f64>> {
                let units = case.amount * counts[i] as f64;
                let turns = turns[i].iter();
                turns.map(|turn| Some(units / seconds(turn)?)).collect()
            };
            let (own, first) = (of(i)?, of(0)?);
            let relative = own.iter().zip(&first).map(|(own, first)| own / first);
            Some(Rates {
                relative: Spread::of(relative.collect()),
                rate: Spread::of(own),
            })
        };
        Ok(Outcome {
            name: contestant.name.clone(),
            wall: rates(|turn| Some(turn.wall)).context("no turns")?,
            cpu: rates(|turn| turn.cpu.filter(|&cpu| cpu > 0.0)),
        })
    });
    outcomes.collect()
}

/// Warms up, and finds how many runs fill a turn.
fn calibrate(contestant: &mut Contestant<'_>, turn: Duration) -> Result<usize> {
    let mut count = 1;
    loop {
        let seconds = take_turn(contestant, count)?.wall;
        ensure!(count < 1 << 30, "{}: runs take no time", contestant.name);
        if seconds > turn.as_secs_f64() / 4.0 {
            let count = count as f64 * turn.as_secs_f64() / seconds;
            return Ok((count.round() as usize).max(1));
        }
        count *= 2;
    }
}

fn take_turn(contestant: &mut Contestant<'_>, count: usize) -> Result<Turn> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    (contestant.run)(count)?;
    let wall = wall.elapsed().as_secs_f64();
    let cpu = cpu_time()
        .zip(cpu)
        .map(|(after, before)| (after - before).as_secs_f64());
    Ok(Turn { wall, cpu })
}

/// Processor time of all threads of this process so far.
#[cfg(unix)]
pub(crate) fn cpu_time() -> Option<Duration> {
    processor_clock(rustix::time::ClockId::ProcessCPUTime)
}

/// Processor time of this thread so far.
#[cfg(all(unix, feature = "gpu"))]
pub(crate) fn thread_time() -> Option<Duration> {
    processor_clock(rustix::time::ClockId::ThreadCPUTime)
}

#[cfg(unix)]
fn processor_clock(id: rustix::time::ClockId) -> Option<Duration> {
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
pub(crate) fn cpu_time() -> Option<Duration> {
    None
}

#[cfg(all(not(unix), feature = "gpu"))]
pub(crate) fn thread_time() -> Option<Duration> {
    None
}
