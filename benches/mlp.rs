//! Training steps of multilayer perceptrons, as a user runs them: `model.step(&batch)`.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::prelude::*;

use crate::harness::{Case, Contestant};
use crate::machine;

/// Widths and batch.
const SIZES: [(&[usize], usize); 2] = [(&[784, 128, 64, 10], 64), (&[784, 512, 512, 10], 512)];

/// Inputs and labels are few but occur in every combination, so that a network that runs for
/// thousands of steps never learns them by heart: gradients would fall below what processors are
/// fast at.
const INPUTS: usize = 4;
const LABELS: usize = 5;

/// Steps that all devices have to agree on.
const CHECKED: usize = 10;

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for (widths, batch) in SIZES {
        let sizes: Vec<String> = widths.iter().map(usize::to_string).collect();
        let name = format!("mlp {} batch {batch}", sizes.join("-"));
        if wanted(&name) {
            let contestants = contestants(devices, widths, batch).with_context(|| name.clone())?;
            cases.push(Case {
                name,
                unit: "steps/s",
                amount: 1.0,
                contestants,
            });
        }
    }
    Ok(cases)
}

fn contestants(
    devices: &[Device],
    widths: &[usize],
    batch: usize,
) -> Result<Vec<Contestant<'static>>> {
    let batches = batches(widths, batch)?;
    let mut expected: Option<Vec<f64>> = None;
    let mut contestants = Vec::new();
    for device in devices {
        let name = machine::short_name(device);
        let mut model = model(device, widths, batch).with_context(|| format!("on {name}"))?;
        let losses = losses(&mut model, &batches)?;
        agree(expected.get_or_insert_with(|| losses.clone()), &losses)
            .with_context(|| format!("on {name}"))?;
        let batches = batches.clone();
        let mut next = CHECKED;
        let run = move |times: usize| {
            for _ in 0..times {
                model.step(&batches[next % batches.len()])?;
                next += 1;
            }
            model.last_loss()?;
            Ok(())
        };
        contestants.push(Contestant {
            name,
            run: Box::new(run),
        });
    }
    Ok(contestants)
}

fn model(device: &Device, widths: &[usize], batch: usize) -> Result<Model> {
    let (inputs, rest) = widths.split_first().context("no widths")?;
    let (classes, hidden) = rest.split_last().context("one width")?;
    let net = hidden
        .iter()
        .fold(Sequential::new(), |net, &width| net.dense(width).relu());
    let settings = Compile::new()
        .input("x", *inputs, DType::F32)
        .target((), DType::I32)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-3))
        .batch(batch)
        .seed(1);
    Ok(net.dense(*classes).compile(settings)?)
}

fn batches(widths: &[usize], batch: usize) -> Result<Vec<Batch>> {
    let (width, classes) = (widths[0], widths[widths.len() - 1]);
    let mut rng = Rng::new(2, 0);
    let mut inputs = Vec::new();
    for _ in 0..INPUTS {
        let values: Vec<f32> = (0..batch * width).map(|_| rng.uniform() as f32).collect();
        inputs.push(Array::new([batch, width], values)?);
    }
    let mut labels = Vec::new();
    for _ in 0..LABELS {
        let below = u32::try_from(classes)?;
        let values: Vec<i32> = (0..batch).map(|_| rng.below(below).cast_signed()).collect();
        labels.push(Array::new([batch], values)?);
    }
    let pair = |i: usize| {
        Batch::new()
            .with("x", inputs[i % INPUTS].clone())
            .with("y", labels[i % LABELS].clone())
    };
    Ok((0..INPUTS * LABELS).map(pair).collect())
}

/// The losses of the first steps.
fn losses(model: &mut Model, batches: &[Batch]) -> Result<Vec<f64>> {
    let mut losses = Vec::new();
    for batch in batches.iter().cycle().take(CHECKED) {
        let ticket = model.step(batch)?;
        losses.push(model.wait(ticket)?.loss());
    }
    Ok(losses)
}

/// Devices sum in different orders; the curves drift apart slowly.
fn agree(expected: &[f64], found: &[f64]) -> Result<()> {
    for (step, (expected, found)) in expected.iter().zip(found).enumerate() {
        let near = (expected - found).abs() <= 1e-4 * expected.abs();
        ensure!(near, "loss of step {step} is {found}, elsewhere {expected}");
    }
    let last = found.last().copied().unwrap_or(f64::NAN);
    ensure!(last.is_finite(), "the loss is {last}");
    Ok(())
}
