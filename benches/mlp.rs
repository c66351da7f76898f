//! Training steps of multilayer perceptrons, as a user runs them: `model.step(&batch)`.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::prelude::*;

use crate::harness::{Case, Contestant};
use crate::machine;

/// A perceptron with relu between its layers, cross-entropy and Adam.
#[derive(Clone, Copy)]
pub(crate) struct Mlp {
    pub(crate) widths: &'static [usize],
    pub(crate) batch: usize,
}

pub(crate) const MLPS: [Mlp; 3] = [
    Mlp {
        widths: &[784, 128, 64, 10],
        batch: 64,
    },
    Mlp {
        widths: &[784, 512, 512, 10],
        batch: 512,
    },
    Mlp {
        widths: &[512, 512, 512, 512, 512, 512, 512, 512, 10],
        batch: 256,
    },
];

/// Inputs and labels are few but occur in every combination, so that a network that runs for
/// thousands of steps never learns them by heart: gradients would fall below what processors are
/// fast at.
const INPUTS: usize = 4;
const LABELS: usize = 5;

/// Small: in deep networks curves of devices that round differently soon part otherwise.
const LEARNING_RATE: f64 = 1e-4;

/// Steps that all devices have to agree on.
const CHECKED: usize = 10;

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for mlp in MLPS {
        let name = mlp.name();
        if wanted(&name) {
            let contestants = contestants(devices, mlp).with_context(|| name.clone())?;
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

fn contestants(devices: &[Device], mlp: Mlp) -> Result<Vec<Contestant<'static>>> {
    let batches = mlp.batches()?;
    let mut expected: Option<Vec<f64>> = None;
    let mut contestants = Vec::new();
    for device in devices {
        let name = machine::short_name(device);
        let mut model = mlp.model(device).with_context(|| format!("on {name}"))?;
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

impl Mlp {
    /// `mlp 784-128-64-10 batch 64`, equal widths counted: `mlp 8×512-10 batch 256`.
    pub(crate) fn name(&self) -> String {
        let runs = self.widths.chunk_by(|a, b| a == b);
        let runs: Vec<String> = runs
            .map(|run| match run {
                [width] => width.to_string(),
                [width, ..] => format!("{}×{width}", run.len()),
                [] => String::new(),
            })
            .collect();
        format!("mlp {} batch {}", runs.join("-"), self.batch)
    }

    pub(crate) fn model(&self, device: &Device) -> Result<Model> {
        let settings = Compile::new()
            .input("x", self.widths[0], DType::F32)
            .target((), DType::I32);
        self.compile(settings, device)
    }

    /// With these inputs.
    pub(crate) fn compile(&self, settings: Compile, device: &Device) -> Result<Model> {
        let (classes, rest) = self.widths.split_last().context("no widths")?;
        let hidden = rest.iter().skip(1);
        let net = hidden.fold(Sequential::new(), |net, &width| net.dense(width).relu());
        let settings = settings
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(LEARNING_RATE))
            .batch(self.batch)
            .seed(1);
        Ok(net.dense(*classes).compile(settings)?)
    }

    pub(crate) fn batches(&self) -> Result<Vec<Batch>> {
        let (width, classes) = (self.widths[0], self.widths[self.widths.len() - 1]);
        let batch = self.batch;
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
