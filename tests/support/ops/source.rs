//! Ops that read no other node.

use gradus_graph::{Array, DType, Layer, Scope, step_row};
use gradus_nn::Sequential;

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let scalar = || [Gen::normal(())];
    vec![
        row("const", scalar(), |g, x| g.full([257], 1.5) * x[0]).sums_over(257),
        row("const", [Gen::any_i32([7])], |g, x| x[0] + g.full([7], -3)).parity_only(),
        row("literal", [Gen::normal([2, 3])], |g, x| {
            let values = vec![1.0f32, -2.0, 3.5, 0.1, 1e-3, 7.0];
            x[0] * g.literal(Array::new([2, 3], values).unwrap_or_else(|_| Array::scalar(0.0)))
        }),
        row("literal", [Gen::any_u32([3])], |g, x| {
            x[0].xor(g.literal(Array::vector(vec![1u32, u32::MAX, 7])))
        })
        .parity_only(),
        row("iota", [Gen::any_i32([3, 257])], |g, x| {
            x[0] + g.iota([3, 257], 1)
        })
        .parity_only(),
        row("iota", [Gen::normal([5, 4])], |g, x| {
            x[0] * g.iota([5, 4], 0).cast(DType::F32)
        }),
        row("random", [Gen::u32s([3, 257], 2)], |g, x| {
            x[0].xor(g.random([3, 257], 0xDEAD_BEEF_0123_4567))
        })
        .parity_only(),
        row("random", [Gen::u32s([70_001], 2)], |g, x| {
            // A view of random bits reads the same elements.
            let bits = g
                .random([2, 70_001], 5)
                .slice_axis(0, 1, 2)
                .reshape([70_001]);
            x[0].xor(bits)
        })
        .note("a slice")
        .parity_only(),
        row("random", [Gen::normal([33, 65])], |g, x| {
            Scope::root(g, true).child("a").uniform([33, 65]) * x[0]
        })
        .note("uniform"),
        row("random", [Gen::normal([33, 65])], |g, x| {
            Scope::root(g, true).child("a").dropout(x[0], 0.4)
        })
        .note("dropout"),
        row("gather", [Gen::normal([5, 2, 4, 3])], |g, x| {
            let net = Sequential::new().random_flip().random_crop([4, 2], 1);
            net.cutout(2).forward(&Scope::root(g, true), x[0] * 2.0)
        })
        .note("of images that change")
        .sums_over(4),
        row("gather", [Gen::normal([3, 1, 7])], |g, x| {
            let net = Sequential::new().random_crop(5, [(0, 2)]).random_flip();
            net.forward(&Scope::root(g, true), x[0].square())
        })
        .note("of sequences that change")
        .sums_over(4),
        row("step_word", [Gen::normal([7])], |g, x| {
            x[0] * (g.step_word(step_row::OPTIMIZER + 1) + 2.0)
        }),
    ]
}
