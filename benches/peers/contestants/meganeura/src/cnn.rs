//! Training steps of a convolutional network.

use meganeura::{Graph, NodeId};
use workload::Cnn;

use crate::training::{Training, dense};

pub(crate) fn training(cnn: &Cnn) -> Training {
    let mut graph = Graph::new();
    let mut parameters = Vec::new();
    let mut x = graph.input("x", &[cnn.batch * cnn.channels[0] * cnn.side * cnn.side]);
    let batch = cnn.batch as u32;
    for (l, conv) in cnn.convolutions().into_iter().enumerate() {
        let [inputs, outputs, side] = [conv.inputs, conv.outputs, conv.side].map(|n| n as u32);
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{l}.{part}"));
        let kernel = graph.parameter(&weight, &[conv.weight.len()]);
        let b = graph.parameter(&bias, &[conv.outputs]);
        parameters.push((weight, conv.weight));
        parameters.push((bias, vec![0.0; conv.outputs]));
        x = graph.conv2d(x, kernel, batch, inputs, side, side, outputs, 3, 3, 1, 1);
        x = graph.add_per_channel(x, b, outputs, side * side);
        x = graph.relu(x);
        x = max_pool(&mut graph, x, batch * outputs, side);
    }
    let layer = cnn.dense();
    x = graph.reshape(x, &[cnn.batch, layer.inputs]);
    x = dense(&mut graph, x, "dense", &layer, &mut parameters);
    Training::new(graph, x, &parameters, cnn.inputs(), cnn.one_hot())
}

/// The maximum of 2×2 by hand, of rows and then of columns: its own has the gradient of a mean.
fn max_pool(graph: &mut Graph, x: NodeId, images: u32, side: u32) -> NodeId {
    let rows = max_of_pairs(graph, x, images * side / 2, side);
    max_of_pairs(graph, rows, images * side * side / 4, 1)
}

/// Of `[pairs, 2, length]` the greater of both.
fn max_of_pairs(graph: &mut Graph, x: NodeId, pairs: u32, length: u32) -> NodeId {
    let a = graph.split_a(x, pairs, 1, 1, length);
    let b = graph.split_b(x, pairs, 1, 1, length);
    // a + max(b − a, 0)
    let minus = graph.neg(a);
    let difference = graph.add(b, minus);
    let more = graph.relu(difference);
    graph.add(a, more)
}
