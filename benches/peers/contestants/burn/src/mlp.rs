//! Training steps of a multilayer perceptron.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use workload::Mlp;

use crate::training::{self, Training, linear};

#[derive(Module, Debug)]
pub(crate) struct Network {
    layers: Vec<Linear>,
}

impl training::Network<Tensor<2>> for Network {
    fn logits(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (l, layer) in self.layers.iter().enumerate() {
            if l > 0 {
                x = relu(x);
            }
            x = layer.forward(x);
        }
        x
    }
}

pub(crate) fn training(mlp: &Mlp, device: &Device) -> Training<Network, Tensor<2>> {
    let layers = mlp.layers();
    let layers = layers.iter().map(|dense| linear(dense, device)).collect();
    let shape = [mlp.batch, mlp.widths[0]];
    Training::new(
        Network { layers },
        shape,
        mlp.inputs(),
        mlp.labels(),
        device,
    )
}
