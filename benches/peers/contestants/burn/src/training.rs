//! Training steps of a network.

use anyhow::{Context, Result};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use workload::{ADAM, Dense, Task};

/// A network whose inputs are `X`.
pub(crate) trait Network<X>: Module {
    fn logits(&self, x: X) -> Tensor<2>;
}

pub(crate) struct Training<N, X> {
    /// Taken and put back by every update.
    network: Option<N>,
    loss: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
    learning_rate: f64,
    inputs: Vec<X>,
    labels: Vec<Tensor<1, Int>>,
    steps: usize,
}

impl<N: Network<Tensor<D>>, const D: usize> Training<N, Tensor<D>> {
    /// With Adam.
    pub(crate) fn new(
        network: N,
        shape: [usize; D],
        inputs: Vec<Vec<f32>>,
        labels: Vec<Vec<usize>>,
        device: &Device,
    ) -> Self {
        let input = |x| Tensor::from_data(TensorData::new(x, shape), device);
        let adam = AdamConfig::new()
            .with_beta_1(ADAM.beta1 as f32)
            .with_beta_2(ADAM.beta2 as f32)
            .with_epsilon(ADAM.eps as f32);
        let inputs = inputs.into_iter().map(input).collect();
        let labels = integers(labels, [shape[0]], device);
        Self::of_network(
            network,
            adam.init(),
            ADAM.learning_rate,
            inputs,
            labels,
            device,
        )
    }
}

impl<N: Network<X>, X: Clone> Training<N, X> {
    pub(crate) fn of_network(
        network: N,
        optimizer: ModuleOptimizer,
        learning_rate: f64,
        inputs: Vec<X>,
        labels: Vec<Tensor<1, Int>>,
        device: &Device,
    ) -> Self {
        Self {
            network: Some(network),
            loss: CrossEntropyLossConfig::new().init(device),
            optimizer,
            learning_rate,
            inputs,
            labels,
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
        let network = self.optimizer.step(self.learning_rate, network, gradients);
        self.network = Some(network);
        Ok(loss)
    }
}

impl<N: Network<X>, X: Clone> Task for Training<N, X> {
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

/// Labels or tokens of this shape.
pub(crate) fn integers<const D: usize>(
    values: Vec<Vec<usize>>,
    shape: [usize; D],
    device: &Device,
) -> Vec<Tensor<D, Int>> {
    let tensor = |values: Vec<usize>| {
        let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    values.into_iter().map(tensor).collect()
}

pub(crate) fn linear(dense: &Dense, device: &Device) -> Linear {
    Linear {
        weight: matrix(dense.transposed(), [dense.inputs, dense.outputs], device),
        bias: Some(zeros(dense.outputs, device)),
    }
}

pub(crate) fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    Param::from_data(TensorData::new(values, shape), device)
}

pub(crate) fn zeros(count: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new(vec![0f32; count], [count]), device)
}
