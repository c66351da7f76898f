//! Training steps of a network.

use anyhow::Result;
use candle_core::{Module, Tensor, Var};
use candle_nn::{AdamW, Linear, Optimizer, ParamsAdamW, Sequential, loss};
use workload::{ADAM, Dense, Task};

use crate::CPU;

pub(crate) struct Training {
    net: Sequential,
    optimizer: AdamW,
    inputs: Vec<Tensor>,
    labels: Vec<Tensor>,
    steps: usize,
}

impl Training {
    /// Of a network whose inputs have this shape, the batch included.
    pub(crate) fn new(
        net: Sequential,
        variables: Vec<Var>,
        shape: &[usize],
        inputs: Vec<Vec<f32>>,
        labels: Vec<Vec<usize>>,
    ) -> Result<Self> {
        let settings = ParamsAdamW {
            lr: ADAM.learning_rate,
            beta1: ADAM.beta1,
            beta2: ADAM.beta2,
            eps: ADAM.eps,
            weight_decay: 0.0,
        };
        let input = |x| Tensor::from_vec(x, shape, &CPU);
        let label = |y: Vec<usize>| {
            let y: Vec<u32> = y.into_iter().map(|y| y as u32).collect();
            Tensor::from_vec(y, shape[0], &CPU)
        };
        Ok(Self {
            net,
            optimizer: AdamW::new(variables, settings)?,
            inputs: inputs.into_iter().map(input).collect::<Result<_, _>>()?,
            labels: labels.into_iter().map(label).collect::<Result<_, _>>()?,
            steps: 0,
        })
    }

    fn train(&mut self) -> Result<Tensor> {
        let x = &self.inputs[self.steps % self.inputs.len()];
        let y = &self.labels[self.steps % self.labels.len()];
        self.steps += 1;
        let loss = loss::cross_entropy(&self.net.forward(x)?, y)?;
        self.optimizer.backward_step(&loss)?;
        Ok(loss)
    }
}

impl Task for Training {
    fn step(&mut self) -> Result<Vec<f32>> {
        Ok(vec![self.train()?.to_scalar()?])
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            self.train()?;
        }
        Ok(())
    }
}

/// A layer of two variables, which join the others.
pub(crate) fn linear(dense: Dense, variables: &mut Vec<Var>) -> Result<Linear> {
    let shape = [dense.outputs, dense.inputs];
    let [weight, bias] = parameters(dense.weight, &shape, variables)?;
    Ok(Linear::new(weight, Some(bias)))
}

/// A weight of this shape and a bias of zeros.
pub(crate) fn parameters(
    weight: Vec<f32>,
    shape: &[usize],
    variables: &mut Vec<Var>,
) -> Result<[Tensor; 2]> {
    let weight = Var::from_vec(weight, shape, &CPU)?;
    let bias = Var::from_vec(vec![0f32; shape[0]], shape[0], &CPU)?;
    let tensors = [weight.as_tensor().clone(), bias.as_tensor().clone()];
    variables.extend([weight, bias]);
    Ok(tensors)
}
