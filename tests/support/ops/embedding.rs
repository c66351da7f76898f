//! Vectors of tokens: the table is a parameter of a layer, here made of an input.

use gradus_graph::{Graph, Layer, Scope, Var};
use gradus_nn::{Embedding, EmbeddingBag, Pooling};

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let sizes: [(&[usize], usize, usize); 4] = [
        (&[2, 5], 7, 4),
        (&[1, 1], 1, 1),
        (&[3, 67], 31, 3),
        (&[257, 1], 300, 8),
    ];
    for (dims, tokens, width) in sizes {
        let mut layers: Vec<(String, Box<dyn Layer>, bool)> = Vec::new();
        let plain = Embedding::new(tokens, width);
        let padded = plain.clone().padding_idx(0);
        layers.push((format!("tokens {tokens}"), Box::new(plain), false));
        layers.push((format!("padding {tokens}"), Box::new(padded), true));
        for pooling in [Pooling::Sum, Pooling::Mean, Pooling::Max] {
            let plain = EmbeddingBag::new(tokens, width).pooling(pooling);
            let padded = plain.clone().padding_idx(0);
            layers.push((format!("{pooling:?} {tokens}"), Box::new(plain), false));
            layers.push((
                format!("padding {pooling:?} {tokens}"),
                Box::new(padded),
                true,
            ));
        }
        for (note, layer, padded) in layers {
            let index = [Gen::u32s(dims, u32::try_from(tokens).unwrap())];
            // Differences do not see that a padding token has no gradient.
            let built = match padded {
                true => row("gather", index, move |g, x| {
                    with_gradient(g, x[0], layer.as_ref())
                })
                .parity_only(),
                false => row("gather", index, move |g, x| {
                    layer.forward(&Scope::root(g, true), x[0])
                }),
            };
            rows.push(built.note(&note).sums_over(257));
        }
    }
    // One table at both ends of a network.
    let both = row("gather", [Gen::u32s([5], 7)], |g, x| {
        let table = Embedding::new(7, 4);
        let scope = Scope::root(g, true);
        let y = scope.apply("table", &table, x[0]).tanh();
        scope.apply("table", &table.unembedding(), y)
    });
    rows.push(both.note("tied").sums_over(16).ulps(64.0));
    rows
}

/// The layer's result, and sums of what the gradient of its table is.
fn with_gradient<'g>(g: &'g Graph, x: Var<'g>, layer: &dyn Layer) -> Var<'g> {
    let y = layer.forward(&Scope::root(g, true), x);
    let grads = gradus_graph::grad(y.square().sum_all(), &g.param_vars());
    grads.iter().fold(y, |y, dw| y + dw.sum(&[0]))
}
