//! Training steps of a convolutional network.

use anyhow::Result;
use candle_nn::{Activation, Conv2d, Conv2dConfig, seq};
use workload::Cnn;

use crate::training::{Training, linear, parameters};

pub(crate) fn training(cnn: &Cnn) -> Result<Training> {
    let mut variables = Vec::new();
    let mut net = seq();
    let settings = Conv2dConfig {
        padding: 1,
        ..Default::default()
    };
    for conv in cnn.convolutions() {
        let shape = [conv.outputs, conv.inputs, 3, 3];
        let [weight, bias] = parameters(conv.weight, &shape, &mut variables)?;
        net = net
            .add(Conv2d::new(weight, Some(bias), settings))
            .add(Activation::Relu)
            .add_fn(|x| x.max_pool2d(2));
    }
    net = net.add_fn(|x| x.flatten_from(1));
    net = net.add(linear(cnn.dense(), &mut variables)?);
    let shape = [cnn.batch, cnn.channels[0], cnn.side, cnn.side];
    Training::new(net, variables, &shape, cnn.inputs(), cnn.labels())
}
