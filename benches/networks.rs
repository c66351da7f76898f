//! Training steps of networks, as a user runs them: `model.step(&batch)`.

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::prelude::*;

use crate::gpt::Gpt;
use crate::harness::{Case, Contestant};
use crate::machine;

/// A network that ends in scores, with cross-entropy and Adam, or AdamW if it takes tokens.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    layers: Layers,
    pub(crate) batch: usize,
}

#[derive(Clone, Copy)]
enum Layers {
    /// Dense layers with relu between them: the widths of the input and of all results.
    Perceptron(&'static [usize]),
    /// On square images of one channel, 3×3 convolutions of so many filters, each with relu and
    /// pooling by 2, then a dense layer.
    Convolutional {
        size: usize,
        filters: &'static [usize],
    },
    /// On so many tokens, the next of each.
    Gpt { net: Gpt, length: usize },
}

pub(crate) const NETWORKS: [Network; 5] = [
    perceptron(&[784, 128, 64, CLASSES], 64),
    perceptron(&[784, 512, 512, CLASSES], 512),
    perceptron(&[512, 512, 512, 512, 512, 512, 512, 512, CLASSES], 256),
    Network {
        layers: Layers::Convolutional {
            size: 28,
            filters: &[16, 32],
        },
        batch: 32,
    },
    Network {
        layers: Layers::Gpt {
            net: Gpt {
                tokens: 256,
                positions: 64,
                checkpoint: false,
                width: 128,
                heads: 4,
                layers: 4,
            },
            length: 64,
        },
        batch: 4,
    },
];

const fn perceptron(widths: &'static [usize], batch: usize) -> Network {
    Network {
        layers: Layers::Perceptron(widths),
        batch,
    }
}

const CLASSES: usize = 10;

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
    for network in NETWORKS {
        let name = network.name();
        if wanted(&name) {
            let contestants = contestants(devices, network).with_context(|| name.clone())?;
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

fn contestants(devices: &[Device], network: Network) -> Result<Vec<Contestant<'static>>> {
    let batches = network.batches()?;
    let mut expected: Option<Vec<f64>> = None;
    let mut contestants = Vec::new();
    for device in devices {
        let name = machine::short_name(device);
        let mut model = network
            .model(device)
            .with_context(|| format!("on {name}"))?;
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

impl Network {
    /// `mlp 784-128-64-10 batch 64`, equal widths counted: `mlp 8×512-10 batch 256`; or
    /// `cnn 28×28-16-32-10 batch 32`.
    pub(crate) fn name(&self) -> String {
        let layers = match self.layers {
            Layers::Perceptron(widths) => {
                let runs = widths.chunk_by(|a, b| a == b);
                let runs: Vec<String> = runs
                    .map(|run| match run {
                        [width] => width.to_string(),
                        [width, ..] => format!("{}×{width}", run.len()),
                        [] => String::new(),
                    })
                    .collect();
                format!("mlp {}", runs.join("-"))
            }
            Layers::Convolutional { size, filters } => {
                let filters: String = filters.iter().map(|f| format!("-{f}")).collect();
                format!("cnn {size}×{size}{filters}-{CLASSES}")
            }
            Layers::Gpt { net, length } => format!("gpt {}×{} of {length}", net.layers, net.width),
        };
        format!("{layers} batch {}", self.batch)
    }

    /// The shape of a sample.
    pub(crate) fn sample(&self) -> Vec<usize> {
        match self.layers {
            Layers::Perceptron(widths) => widths.iter().copied().take(1).collect(),
            Layers::Convolutional { size, .. } => vec![1, size, size],
            Layers::Gpt { length, .. } => vec![length],
        }
    }

    /// What a sample is made of, and how many values there are; then the same of its target.
    const fn values(&self) -> [(DType, usize); 2] {
        match self.layers {
            Layers::Gpt { net, .. } => [(DType::I32, net.tokens); 2],
            _ => [(DType::F32, 0), (DType::I32, CLASSES)],
        }
    }

    /// The shape of a target.
    fn target(&self) -> Vec<usize> {
        match self.layers {
            Layers::Gpt { length, .. } => vec![length],
            _ => Vec::new(),
        }
    }

    pub(crate) fn model(&self, device: &Device) -> Result<Model> {
        let [(input, _), (target, _)] = self.values();
        let settings = Compile::new()
            .input("x", &self.sample()[..], input)
            .target(&self.target()[..], target);
        self.compile(settings, device)
    }

    /// With these inputs.
    pub(crate) fn compile(&self, settings: Compile, device: &Device) -> Result<Model> {
        let settings = settings
            .device(device.clone())
            .loss(CrossEntropy::new())
            .batch(self.batch)
            .seed(1);
        let net = match self.layers {
            Layers::Perceptron(widths) => {
                let (classes, rest) = widths.split_last().context("no widths")?;
                let hidden = rest.iter().skip(1);
                let net = hidden.fold(Sequential::new(), |net, &width| net.dense(width).relu());
                net.dense(*classes)
            }
            Layers::Convolutional { filters, .. } => {
                let net = filters.iter().fold(Sequential::new(), |net, &filters| {
                    let conv = Conv2d::new(filters, 3).padding(1);
                    net.layer(conv).relu().max_pool(2)
                });
                net.flatten().dense(CLASSES)
            }
            Layers::Gpt { net, .. } => {
                let settings = settings.optimizer(AdamW::new(LEARNING_RATE));
                return Ok(net.compile(settings)?);
            }
        };
        Ok(net.compile(settings.optimizer(Adam::new(LEARNING_RATE)))?)
    }

    /// Inputs of so many samples.
    pub(crate) fn inputs(&self, rng: &mut Rng, samples: usize) -> Result<Array> {
        let shape = [&[samples][..], &self.sample()].concat();
        random(rng, &shape, self.values()[0])
    }

    /// Targets of so many samples.
    pub(crate) fn targets(&self, rng: &mut Rng, samples: usize) -> Result<Array> {
        let shape = [&[samples][..], &self.target()].concat();
        random(rng, &shape, self.values()[1])
    }

    pub(crate) fn batches(&self) -> Result<Vec<Batch>> {
        let mut rng = Rng::new(2, 0);
        let inputs = (0..INPUTS).map(|_| self.inputs(&mut rng, self.batch));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let labels = (0..LABELS).map(|_| self.targets(&mut rng, self.batch));
        let labels = labels.collect::<Result<Vec<_>>>()?;
        let pair = |i: usize| {
            Batch::new()
                .with("x", inputs[i % INPUTS].clone())
                .with("y", labels[i % LABELS].clone())
        };
        Ok((0..INPUTS * LABELS).map(pair).collect())
    }
}

/// Numbers from 0 on below 1, or whole ones below a bound.
fn random(rng: &mut Rng, shape: &[usize], (dtype, below): (DType, usize)) -> Result<Array> {
    let count = shape.iter().product();
    if dtype == DType::F32 {
        let values: Vec<f32> = (0..count).map(|_| rng.uniform() as f32).collect();
        return Ok(Array::new(shape, values)?);
    }
    let below = u32::try_from(below)?;
    let values = (0..count).map(|_| rng.below(below).cast_signed());
    Ok(Array::new(shape, values.collect::<Vec<i32>>())?)
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
