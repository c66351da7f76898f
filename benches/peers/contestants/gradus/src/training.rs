//! Training steps of a network.

use std::mem;

use anyhow::Result;
use gradus::graph::Shape;
use gradus::graph::philox::Rng;
use gradus::prelude::*;
use gradus::train::Ticket;
use workload::{ADAM, Task};

pub(crate) struct Training {
    model: Model,
    /// One for each input; the labels change.
    batches: Vec<Batch>,
    labels: Vec<Array>,
    steps: usize,
}

impl Training {
    /// Of a network whose inputs have this shape, the batch left out.
    pub(crate) fn new(
        net: Sequential,
        shape: &[usize],
        inputs: Vec<Vec<f32>>,
        labels: Vec<Vec<usize>>,
        device: &Device,
    ) -> Result<Self> {
        let batch = labels.first().map_or(0, Vec::len);
        let adam = Adam::new(ADAM.learning_rate)
            .betas(ADAM.beta1, ADAM.beta2)
            .eps(ADAM.eps);
        let settings = Compile::new()
            .input("x", shape, DType::F32)
            .target((), DType::I32)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(adam)
            .batch(batch);
        let full = [&[batch], shape].concat();
        let input = |x| Ok(Array::new(full.as_slice(), x)?);
        let inputs = inputs.into_iter().map(input).collect::<Result<_>>()?;
        let labels = integers(labels, &[batch])?;
        Ok(Self::of_model(net.compile(settings)?, inputs, labels))
    }

    /// Of a model with the input `x`.
    pub(crate) fn of_model(model: Model, inputs: Vec<Array>, labels: Vec<Array>) -> Self {
        let batch = |x| Batch::new().with("x", x);
        Self {
            model,
            batches: inputs.into_iter().map(batch).collect(),
            labels,
            steps: 0,
        }
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

/// Labels or tokens of this shape.
pub(crate) fn integers(values: Vec<Vec<usize>>, shape: &[usize]) -> Result<Vec<Array>> {
    let array = |values: Vec<usize>| {
        let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
        Ok(Array::new(shape, values)?)
    };
    values.into_iter().map(array).collect()
}

/// Initial values that are given.
#[derive(Debug)]
pub(crate) struct Given(pub(crate) Vec<f32>);

impl Init for Given {
    fn sample(&self, _: &Shape, _: &mut Rng) -> Vec<f32> {
        self.0.clone()
    }
}
