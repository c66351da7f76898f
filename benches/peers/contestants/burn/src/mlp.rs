//! Training steps of a multilayer perceptron.

use anyhow::{Context, Result};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use workload::{ADAM, Mlp, Task};

#[derive(Module, Debug)]
struct Network {
    layers: Vec<Linear>,
}

impl Network {
    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (l, layer) in self.layers.iter().enumerate() {
            if l > 0 {
                x = relu(x);
            }
            x = layer.forward(x);
        }
        x
    }
}

pub(crate) struct Training {
    /// Taken and put back by every update.
    network: Option<Network>,
    loss: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
    inputs: Vec<Tensor<2>>,
    labels: Vec<Tensor<1, Int>>,
    steps: usize,
}

impl Training {
    pub(crate) fn new(mlp: &Mlp, device: Device) -> Self {
        let layers = mlp.layers().into_iter().map(|dense| {
            let weight = TensorData::new(dense.transposed(), [dense.inputs, dense.outputs]);
            let bias = TensorData::new(vec![0f32; dense.outputs], [dense.outputs]);
            Linear {
                weight: Param::from_data(weight, &device),
                bias: Some(Param::from_data(bias, &device)),
            }
        });
        let input = |x| Tensor::from_data(TensorData::new(x, [mlp.batch, mlp.widths[0]]), &device);
        let label = |y: Vec<usize>| {
            let y: Vec<i32> = y.into_iter().map(|y| y as i32).collect();
            Tensor::from_data(TensorData::new(y, [mlp.batch]), &device)
        };
        let adam = AdamConfig::new()
            .with_beta_1(ADAM.beta1 as f32)
            .with_beta_2(ADAM.beta2 as f32)
            .with_epsilon(ADAM.eps as f32);
        Self {
            network: Some(Network {
                layers: layers.collect(),
            }),
            loss: CrossEntropyLossConfig::new().init(&device),
            optimizer: adam.init(),
            inputs: mlp.inputs().into_iter().map(input).collect(),
            labels: mlp.labels().into_iter().map(label).collect(),
            steps: 0,
        }
    }

    fn train(&mut self) -> Result<Tensor<1>> {
        let x = self.inputs[self.steps % self.inputs.len()].clone();
        let y = self.labels[self.steps % self.labels.len()].clone();
        self.steps += 1;
        let network = self.network.take().context("the network is lost")?;
        let loss = self.loss.forward(network.forward(x), y);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let network = self.optimizer.step(ADAM.learning_rate, network, gradients);
        self.network = Some(network);
        Ok(loss)
    }
}

impl Task for Training {
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
