//! Training steps of a multilayer perceptron.

use anyhow::Result;
use gradus::prelude::*;
use workload::Mlp;

use crate::training::{Given, Training};

pub(crate) fn training(mlp: &Mlp, device: &Device) -> Result<Training> {
    let layers = mlp.layers();
    let count = layers.len();
    let mut net = Sequential::new();
    for (l, layer) in layers.into_iter().enumerate() {
        net = net.layer(Dense::new(layer.outputs).weight_init(Given(layer.weight)));
        if l + 1 < count {
            net = net.relu();
        }
    }
    Training::new(net, &mlp.widths[..1], mlp.inputs(), mlp.labels(), device)
}
