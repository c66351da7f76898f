//! What the host does for steps on a GPU: its time for each dispatch, and how often it asks the
//! device for something.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gradus::graph::backend::ModelMemory;
use gradus::graph::philox::Rng;
use gradus::graph::plan::Role;
use gradus::graph::{Plan, step_row};
use gradus::prelude::*;
use gradus::tensor::Counters;

use crate::figure::{Bar, Figure};
use crate::harness::{Effort, Spread, thread_time};
use crate::machine::{self, Options};
use crate::networks::{NETWORKS, Network};

/// Steps in one submit, as many as `fit` has.
const STEPS: usize = 8;

/// Microseconds for each dispatch.
const MICROSECONDS: f64 = 3.0;

/// Submits for each repeat.
const SUBMITS: usize = 10;

pub(crate) fn figures(
    devices: &[Device],
    options: &Options,
    effort: Effort,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for network in NETWORKS {
        let name = format!("submit, {}", network.name());
        for device in devices.iter().filter(|device| !device.is_cpu()) {
            if options.wants(&name) {
                let on = || format!("{name} on {}", machine::short_name(device));
                figures.extend(of(device, &network, effort.repeats).with_context(on)?);
            }
        }
    }
    Ok(figures)
}

fn of(device: &Device, network: &Network, repeats: usize) -> Result<Vec<Figure>> {
    let gpu = device.as_gpu().context("not a GPU")?;
    let uploaded = network.model(device)?.plan().clone();
    let resident = resident(network, device)?.plan().clone();
    let figure = |what: &str, unit, value, cpu, bar| Figure {
        what: format!("{what}, {}", network.name()),
        on: machine::short_name(device),
        unit,
        value,
        cpu,
        bar,
        detail: None,
    };
    let most = |limit| Some(Bar::AtMost(limit));
    let mut figures = Vec::new();
    let mut counted = Counters::default();
    for (what, plan, steps, bar) in [
        ("upload and submit of 1 step", uploaded, 1, None),
        (
            "submit of 8 resident steps",
            resident,
            STEPS,
            most(MICROSECONDS),
        ),
    ] {
        let dispatches = steps * plan.kernels.len();
        let rows = vec![[0; step_row::WORDS]; steps];
        // What is computed does not matter here.
        let upload = vec![0; usize::try_from(bytes(&plan, &Role::Upload) / 4)?];
        let mut runtime = device.runtime(memory(&plan))?;
        let program = runtime.compile(Arc::new(plan))?;
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..repeats * SUBMITS {
            let (before, clock, thread) = (gpu.counters(), Instant::now(), thread_time());
            let ticket = runtime.submit(program, &rows, &upload)?;
            let (clock, thread) = (clock.elapsed(), thread_time().zip(thread));
            runtime.wait(ticket)?;
            counted = gpu.counters() - before;
            let each = |time: Duration| time.as_secs_f64() * 1e6 / dispatches as f64;
            wall.push(each(clock));
            cpu.extend(thread.map(|(after, before)| each(after - before)));
        }
        let cpu = (!cpu.is_empty()).then(|| Spread::of(cpu));
        figures.push(figure(what, "µs/dispatch", Spread::of(wall), cpu, bar));
    }
    // The counters of the last submit: of steps over resident data.
    let made = counted.buffers + counted.bind_groups + counted.pipelines;
    // Steps that drivers could take for a hang are submits of their own.
    let submits = most(1.0).filter(|_| network.batch == 64);
    for (what, count, bar) in [
        ("submits for 8 resident steps", counted.submits, submits),
        ("uploads for 8 resident steps", counted.uploads, most(1.0)),
        ("buffers, bind groups and pipelines made", made, most(0.0)),
    ] {
        let value = Spread::of(vec![count as f64]);
        figures.push(figure(what, "", value, None, bar));
    }
    Ok(figures)
}

/// The network, with a data set of some batches on the device.
fn resident(network: &Network, device: &Device) -> Result<Model> {
    let samples = STEPS * network.batch;
    let mut rng = Rng::new(5, 0);
    let x = network.inputs(&mut rng, samples)?;
    let data = Dataset::from_arrays(x, network.targets(&mut rng, samples)?)?;
    network.compile(Compile::for_data(&data).resident(true), device)
}

fn bytes(plan: &Plan, role: &Role) -> u64 {
    let buffer = plan.buffers.iter().find(|buffer| buffer.role == *role);
    buffer.map_or(0, |buffer| buffer.bytes)
}

/// Memory for the plan of a model.
fn memory(plan: &Plan) -> ModelMemory {
    let states = plan.buffers.iter().filter_map(|buffer| match buffer.role {
        Role::OptimizerState(number, _) => Some(number + 1),
        _ => None,
    });
    ModelMemory {
        slabs: plan.slabs.clone(),
        optimizer_states: states.max().unwrap_or(0),
        state_bytes: bytes(plan, &Role::States),
    }
}
