//! Training steps of a multilayer perceptron.

use std::mem;

use anyhow::Result;
use gradus::graph::Shape;
use gradus::graph::philox::Rng;
use gradus::prelude::*;
use gradus::train::Ticket;
use workload::{ADAM, Mlp, Task};

pub(crate) struct Training {
    model: Model,
    /// One for each input; the labels change.
    batches: Vec<Batch>,
    labels: Vec<Array>,
    steps: usize,
}

impl Training {
    pub(crate) fn new(mlp: &Mlp, device: &Device) -> Result<Self> {
        let layers = mlp.layers();
        let count = layers.len();
        let mut net = Sequential::new();
        for (l, layer) in layers.into_iter().enumerate() {
            net = net.layer(Dense::new(layer.outputs).weight_init(Given(layer.weight)));
            if l + 1 < count {
                net = net.relu();
            }
        }
        let adam = Adam::new(ADAM.learning_rate)
            .betas(ADAM.beta1, ADAM.beta2)
            .eps(ADAM.eps);
        let settings = Compile::new()
            .input("x", mlp.widths[0], DType::F32)
            .target((), DType::I32)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(adam)
            .batch(mlp.batch);
        let batch = |x| Ok(Batch::new().with("x", Array::new([mlp.batch, mlp.widths[0]], x)?));
        let label = |y: Vec<usize>| {
            let y: Vec<i32> = y.into_iter().map(|y| y as i32).collect();
            Array::new([mlp.batch], y)
        };
        Ok(Self {
            model: net.compile(settings)?,
            batches: mlp.inputs().into_iter().map(batch).collect::<Result<_>>()?,
            labels: mlp
                .labels()
                .into_iter()
                .map(label)
                .collect::<Result<_, _>>()?,
            steps: 0,
        })
    }

    fn submit(&mut self) -> Result<Ticket> {
        let labels = &self.labels[self.steps % self.labels.len()];
        let count = self.batches.len();
        let batch = &mut self.batches[self.steps % count];
        *batch = mem::take(batch).with("y", labels.clone());
        self.steps += 1;
        Ok(self.model.step(batch)?)
    }
}

impl Task for Training {
    fn step(&mut self) -> Result<Vec<f32>> {
        let ticket = self.submit()?;
        Ok(vec![self.model.wait(ticket)?.loss() as f32])
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            self.submit()?;
        }
        self.model.last_loss()?;
        Ok(())
    }
}

/// Initial values that are given.
#[derive(Debug)]
struct Given(Vec<f32>);

impl Init for Given {
    fn sample(&self, _: &Shape, _: &mut Rng) -> Vec<f32> {
        self.0.clone()
    }
}
