//! Training steps of a multilayer perceptron.

use anyhow::{Context, Result};
use candle_core::{Module, Tensor, Var};
use candle_nn::{AdamW, Linear, Optimizer, ParamsAdamW, loss};
use workload::{ADAM, Mlp, Task};

use crate::CPU;

pub(crate) struct Training {
    layers: Vec<Linear>,
    optimizer: AdamW,
    inputs: Vec<Tensor>,
    labels: Vec<Tensor>,
    steps: usize,
}

impl Training {
    pub(crate) fn new(mlp: &Mlp) -> Result<Self> {
        let mut variables = Vec::new();
        let mut layers = Vec::new();
        for dense in mlp.layers() {
            let shape = (dense.outputs, dense.inputs);
            let weight = Var::from_vec(dense.weight, shape, &CPU)?;
            let bias = Var::from_vec(vec![0f32; dense.outputs], dense.outputs, &CPU)?;
            layers.push(Linear::new(
                weight.as_tensor().clone(),
                Some(bias.as_tensor().clone()),
            ));
            variables.extend([weight, bias]);
        }
        let settings = ParamsAdamW {
            lr: ADAM.learning_rate,
            beta1: ADAM.beta1,
            beta2: ADAM.beta2,
            eps: ADAM.eps,
            weight_decay: 0.0,
        };
        let input = |x| Tensor::from_vec(x, (mlp.batch, mlp.widths[0]), &CPU);
        let label = |y: Vec<usize>| {
            let y: Vec<u32> = y.into_iter().map(|y| y as u32).collect();
            Tensor::from_vec(y, mlp.batch, &CPU)
        };
        Ok(Self {
            layers,
            optimizer: AdamW::new(variables, settings)?,
            inputs: mlp
                .inputs()
                .into_iter()
                .map(input)
                .collect::<Result<_, _>>()?,
            labels: mlp
                .labels()
                .into_iter()
                .map(label)
                .collect::<Result<_, _>>()?,
            steps: 0,
        })
    }

    fn train(&mut self) -> Result<Tensor> {
        let x = &self.inputs[self.steps % self.inputs.len()];
        let y = &self.labels[self.steps % self.labels.len()];
        self.steps += 1;
        let (last, hidden) = self.layers.split_last().context("no layers")?;
        let mut x = x.clone();
        for layer in hidden {
            x = layer.forward(&x)?.relu()?;
        }
        let loss = loss::cross_entropy(&last.forward(&x)?, y)?;
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
