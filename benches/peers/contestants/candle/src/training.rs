//! Training steps of a network.

use anyhow::Result;
use candle_core::{Module, Tensor, Var};
use candle_nn::{AdamW, Linear, Optimizer, ParamsAdamW, Sequential, loss};
use workload::{ADAM, Adam, Dense, Task};

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
        let input = |x| Ok(Tensor::from_vec(x, shape, &CPU)?);
        let inputs = inputs.into_iter().map(input).collect::<Result<_>>()?;
        let labels = integers(labels, &[shape[0]])?;
        Self::by(&ADAM, net, variables, inputs, labels)
    }

    /// The same with these settings of the optimizer.
    pub(crate) fn by(
        settings: &Adam,
        net: Sequential,
        variables: Vec<Var>,
        inputs: Vec<Tensor>,
        labels: Vec<Tensor>,
    ) -> Result<Self> {
        let settings = ParamsAdamW {
            lr: settings.learning_rate,
            beta1: settings.beta1,
            beta2: settings.beta2,
            eps: settings.eps,
            weight_decay: settings.weight_decay,
        };
        Ok(Self {
            net,
            optimizer: AdamW::new(variables, settings)?,
            inputs,
            labels,
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

/// Labels or tokens of this shape.
pub(crate) fn integers(values: Vec<Vec<usize>>, shape: &[usize]) -> Result<Vec<Tensor>> {
    let tensor = |values: Vec<usize>| {
        let values: Vec<u32> = values.into_iter().map(|value| value as u32).collect();
        Ok(Tensor::from_vec(values, shape, &CPU)?)
    };
    values.into_iter().map(tensor).collect()
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
