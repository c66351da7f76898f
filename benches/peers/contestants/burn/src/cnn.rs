//! Training steps of a convolutional network.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use workload::{Cnn, Conv};

use crate::training::{self, Training, linear, zeros};

#[derive(Module, Debug)]
pub(crate) struct Network {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
    dense: Linear,
}

impl training::Network<Tensor<4>> for Network {
    fn logits(&self, mut x: Tensor<4>) -> Tensor<2> {
        for conv in &self.convolutions {
            x = self.pool.forward(relu(conv.forward(x)));
        }
        self.dense.forward(x.flatten(1, 3))
    }
}

pub(crate) fn training(cnn: &Cnn, device: &Device) -> Training<Network, Tensor<4>> {
    let network = Network {
        convolutions: cnn
            .convolutions()
            .into_iter()
            .map(|conv| convolution(conv, device))
            .collect(),
        pool: MaxPool2dConfig::new([2, 2]).init(),
        dense: linear(&cnn.dense(), device),
    };
    let shape = [cnn.batch, cnn.channels[0], cnn.side, cnn.side];
    Training::new(network, shape, cnn.inputs(), cnn.labels(), device)
}

fn convolution(conv: Conv, device: &Device) -> Conv2d {
    let settings = Conv2dConfig::new([conv.inputs, conv.outputs], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    let weight = TensorData::new(conv.weight, [conv.outputs, conv.inputs, 3, 3]);
    Conv2d {
        weight: Param::from_data(weight, device),
        bias: Some(zeros(conv.outputs, device)),
        ..settings.init(device)
    }
}
