//! Training steps of a convolutional network.

use anyhow::Result;
use gradus::prelude::*;
use workload::Cnn;

use crate::training::{Given, Training};

pub(crate) fn training(cnn: &Cnn, device: &Device) -> Result<Training> {
    let mut net = Sequential::new();
    for conv in cnn.convolutions() {
        let layer = Conv2d::new(conv.outputs, 3).padding(1);
        net = net
            .layer(layer.weight_init(Given(conv.weight)))
            .relu()
            .max_pool(2);
    }
    let dense = cnn.dense();
    net = net
        .flatten()
        .layer(Dense::new(dense.outputs).weight_init(Given(dense.weight)));
    let shape = [cnn.channels[0], cnn.side, cnn.side];
    Training::new(net, &shape, cnn.inputs(), cnn.labels(), device)
}
