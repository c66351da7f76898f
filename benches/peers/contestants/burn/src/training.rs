//! Training steps of a network.

use anyhow::{Context, Result};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use workload::{ADAM, Dense, Task};

/// A network whose inputs have `D` axes, the batch included.
pub(crate) trait Network<const D: usize>: Module {
    fn logits(&self, x: Tensor<D>) -> Tensor<2>;
}

pub(crate) struct Training<N, const D: usize> {
    /// Taken and put back by every update.
    network: Option<N>,
    loss: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
    inputs: Vec<Tensor<D>>,
    labels: Vec<Tensor<1, Int>>,
    steps: usize,
}

impl<N: Network<D>, const D: usize> Training<N, D> {
    pub(crate) fn new(
        network: N,
        shape: [usize; D],
        inputs: Vec<Vec<f32>>,
        labels: Vec<Vec<usize>>,
        device: &Device,
    ) -> Self {
        let input = |x| Tensor::from_data(TensorData::new(x, shape), device);
        let label = |y: Vec<usize>| {
            let y: Vec<i32> = y.into_iter().map(|y| y as i32).collect();
            Tensor::from_data(TensorData::new(y, [shape[0]]), device)
        };
        let adam = AdamConfig::new()
            .with_beta_1(ADAM.beta1 as f32)
            .with_beta_2(ADAM.beta2 as f32)
            .with_epsilon(ADAM.eps as f32);
        Self {
            network: Some(network),
            loss: CrossEntropyLossConfig::new().init(device),
            optimizer: adam.init(),
            inputs: inputs.into_iter().map(input).collect(),
            labels: labels.into_iter().map(label).collect(),
            steps: 0,
        }
    }

    fn train(&mut self) -> Result<Tensor<1>> {
        let x = self.inputs[self.steps % self.inputs.len()].clone();
        let y = self.labels[self.steps % self.labels.len()].clone();
        self.steps += 1;
        let network = self.network.take().context("the network is lost")?;
        let loss = self.loss.forward(network.logits(x), y);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let network = self.optimizer.step(ADAM.learning_rate, network, gradients);
        self.network = Some(network);
        Ok(loss)
    }
}

impl<N: Network<D>, const D: usize> Task for Training<N, D> {
    fn step(&mut self) -> Result<Vec<f32>> {
        Ok(vec![self.train()?.into_scalar()])
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 1..steps {
            self.train()?;
        }
        let loss = self.train()?;
        // Waits until everything before it is done.
        let device = loss.device();
        loss.into_scalar::<f32>();
        device.sync()?;
        Ok(())
    }
}

pub(crate) fn linear(dense: &Dense, device: &Device) -> Linear {
    let weight = TensorData::new(dense.transposed(), [dense.inputs, dense.outputs]);
    Linear {
        weight: Param::from_data(weight, device),
        bias: Some(zeros(dense.outputs, device)),
    }
}

pub(crate) fn zeros(count: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new(vec![0f32; count], [count]), device)
}
