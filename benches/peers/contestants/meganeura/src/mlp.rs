//! Training steps of a multilayer perceptron.

use meganeura::Graph;
use workload::Mlp;

use crate::training::{Training, dense};

pub(crate) fn training(mlp: &Mlp) -> Training {
    let mut graph = Graph::new();
    let mut parameters = Vec::new();
    let mut x = graph.input("x", &[mlp.batch, mlp.widths[0]]);
    for (l, layer) in mlp.layers().iter().enumerate() {
        if l > 0 {
            x = graph.relu(x);
        }
        x = dense(&mut graph, x, &l.to_string(), layer, &mut parameters);
    }
    Training::new(graph, x, &parameters, mlp.inputs(), mlp.one_hot())
}
