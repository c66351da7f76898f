//! `cnn_batchnorm_adam`: a whole network with running statistics, trained for five steps.

use std::sync::Arc;

use gradus_graph::{Array, DType, Layer, Scope, Var};
use gradus_nn::{Adam, BatchNorm, Conv2d, CrossEntropy, Dense, Loss, Sequential};

use super::training::{Stored, rows};
use super::{F32, File, Training};

const BATCH: usize = 8;

/// Two convolutions with normalization and pooling, and a linear layer, as the file has them at
/// first.
fn network(file: &File) -> Sequential {
    let stored = |name: &str| Stored(file.get(&format!("w.{name}")));
    let stage = |net: Sequential, filters, weight: &str| {
        let conv = Conv2d::new(filters, 3).padding(1).no_bias();
        net.layer(conv.weight_init(stored(weight)))
            .layer(BatchNorm::new())
            .relu()
            .max_pool(2)
    };
    let net = stage(Sequential::new(), 6, "0.weight");
    let head = Dense::new(10).weight_init(stored("9.weight"));
    stage(net, 8, "4.weight")
        .flatten()
        .layer(head.bias_init(stored("9.bias")))
}

pub(super) fn training() -> Training {
    let file = File::open("cnn_batchnorm_adam");
    let (x, y) = (file.get("in.x"), file.get("in.y"));
    let batch = |k: usize| vec![rows(&x, k * BATCH, BATCH), rows(&y, k * BATCH, BATCH)];
    let stored = Arc::clone(&file);
    Training {
        name: "cnn_batchnorm_adam/steps".into(),
        loss: Box::new(move |graph| {
            let scope = Scope::root(graph, true);
            let x = graph.input("x", [BATCH, 1, 8, 8], F32);
            let y = graph.input("y", BATCH, DType::I32);
            let logits: Var<'_> = network(&stored).forward(&scope, x);
            CrossEntropy::new().forward(&scope, logits, y)
        }),
        optimizer: Arc::new(Adam::new(0.01)),
        clip_norm: None,
        batches: (0..5).map(batch).collect(),
        check: Box::new(|training, found, _| {
            training.check_updates(found)?;
            let losses: Vec<f32> = found.losses.iter().map(|&l| l as f32).collect();
            training.file.check("out.losses", &Array::vector(losses))
        }),
        file,
    }
}
