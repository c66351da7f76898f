//! Training steps of a multilayer perceptron.

use anyhow::Result;
use candle_nn::{Activation, seq};
use workload::Mlp;

use crate::training::{Training, linear};

pub(crate) fn training(mlp: &Mlp) -> Result<Training> {
    let mut variables = Vec::new();
    let mut net = seq();
    for (l, dense) in mlp.layers().into_iter().enumerate() {
        if l > 0 {
            net = net.add(Activation::Relu);
        }
        net = net.add(linear(dense, &mut variables)?);
    }
    let shape = [mlp.batch, mlp.widths[0]];
    Training::new(net, variables, &shape, mlp.inputs(), mlp.labels())
}
