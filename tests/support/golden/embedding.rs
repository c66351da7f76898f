//! `07a`: vectors of tokens, with and without a padding token, and bags of them.

use std::sync::Arc;

use gradus_graph::{Layer, Scope};
use gradus_nn::{Embedding, EmbeddingBag, Pooling};

use super::{Case, File, with_gradients};

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("07a_embedding");
    let bag = |pooling| EmbeddingBag::new(10, 4).pooling(pooling);
    vec![
        case(&file, "emb", "grad.emb", Embedding::new(10, 4)),
        case(
            &file,
            "emb_pad1",
            "grad.pad1.emb",
            Embedding::new(10, 4).padding_idx(1),
        ),
        case(&file, "bag_sum", "grad.bag_sum.emb", bag(Pooling::Sum)),
        case(&file, "bag_mean", "grad.bag_mean.emb", bag(Pooling::Mean)),
        case(&file, "bag_max", "grad.bag_max.emb", bag(Pooling::Max)),
    ]
}

/// A layer over the stored tokens. The cotangent of a bag is that of its first token.
fn case(file: &Arc<File>, part: &str, grad: &str, layer: impl Layer + 'static) -> Case {
    let out = format!("out.{part}");
    let wanted = [out.as_str(), grad];
    Case::new(file, part, &["in.idx", "in.gy"], &wanted, move |g, x| {
        let y = Scope::root(g, true).apply("emb", &layer, x[0]);
        let dy = match y.rank() {
            3 => x[1],
            _ => x[1].narrow(1, 0, 1).squeeze(&[1]),
        };
        with_gradients(y, dy, &g.param_vars())
    })
}
