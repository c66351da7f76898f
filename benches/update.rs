//! The optimizer, with and without clipping, beside a copy of as many bytes.

use anyhow::{Context, Result, ensure};
use gradus::graph::backend::ModelMemory;
use gradus::graph::philox::Rng;
use gradus::graph::plan::{Request, Role, SlabLayout, lower};
use gradus::graph::{At, Graph, Optimizer, Plan, Scope, grad, step_row};
use gradus::nn::Adam;
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

const PARAMETERS: usize = 2 << 20;

/// So small that parameters are the same after however many steps.
const LEARNING_RATE: f64 = 1e-12;
/// Far below the norm of the gradient.
const LIMIT: f64 = 1.0;

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for device in devices {
        for (name, clip) in [("adam, 2 M", None), ("adam clipped, 2 M", Some(LIMIT))] {
            if wanted(name) {
                let on = || format!("{name} on {}", machine::short_name(device));
                cases.push(case(device, name, clip).with_context(on)?);
            }
        }
    }
    Ok(cases)
}

fn case(device: &Device, name: &str, clip: Option<f64>) -> Result<Case<'static>> {
    let adam = Adam::new(LEARNING_RATE);
    let (plan, memory) = plan(device, &adam, clip)?;
    let bytes = plan.bill.bytes;
    let mut planned = Planned::prepare(device, memory, vec![plan])?;
    for (slot, word) in (step_row::OPTIMIZER as usize..).zip(adam.words(&At::step(0))) {
        planned.row[slot] = word.to_bits();
    }
    let params = values(PARAMETERS);
    planned.write(&Role::Params(0), 0, &params)?;
    planned.run(1)?;
    let norm: f64 = params.iter().map(|&p| f64::from(p).powi(2)).sum();
    let factor = clip.map_or(1.0, |limit| (limit / norm.sqrt()).min(1.0));
    // The first average of the gradient, which is the parameter itself.
    let found = planned.read(0, &Role::OptimizerState(0, 0), 0, PARAMETERS)?;
    for (param, found) in params.into_iter().zip(found) {
        let expected = 0.1 * factor * f64::from(param);
        let near = (f64::from(found) - expected).abs() <= 1e-5 * expected.abs();
        ensure!(near, "average {found}, expected {expected}");
    }
    let contestant = |name: &str, planned: Planned| {
        Contestant::planned(format!("{}, {name}", machine::short_name(device)), planned)
    };
    Ok(Case {
        name: name.into(),
        unit: "GB/s",
        amount: bytes as f64 / 1e9,
        contestants: vec![
            contestant("copy", copy(device, usize::try_from(bytes)? / 8)?),
            contestant("step", planned),
        ],
    })
}

/// A training step of ½ Σ p², whose gradient is p: a copy, and what the optimizer does.
fn plan(device: &Device, adam: &Adam, clip_norm: Option<f64>) -> Result<(Plan, ModelMemory)> {
    let (target, graph) = (device.target(), Graph::new());
    let param = Scope::root(&graph, true).param("p", [PARAMETERS], Zeros);
    let loss = (param * param).sum_all() * 0.5;
    let slabs = SlabLayout::new(&graph.params(), &target)?;
    let plan = lower(&Request {
        gradients: grad(loss, &[param]).into_iter().map(Some).collect(),
        optimizer: Some(adam),
        clip_norm,
        ..Request::new("bench", &graph, slabs.clone(), &target)
    })?;
    let memory = ModelMemory {
        slabs,
        optimizer_states: adam.states().len(),
        ..ModelMemory::default()
    };
    Ok((plan, memory))
}

/// As simple as a kernel that reads and writes each element can be.
fn copy(device: &Device, elements: usize) -> Result<Planned> {
    let x = values(elements);
    let mut planned = Planned::new(device, std::slice::from_ref(&x), |scope| {
        -scope.param("x", [elements], Zeros)
    })?;
    planned.run(1)?;
    let found = planned.result(0)?;
    ensure!(x.iter().zip(&found).all(|(x, y)| *x == -y), "a wrong copy");
    Ok(planned)
}

/// Elements in [½, 1): none so small that its square is lost.
fn values(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(5, 0);
    (0..count)
        .map(|_| (0.5 + 0.5 * rng.uniform()) as f32)
        .collect()
}
