//! Segments whose inside the backward pass computes again.

use gradus_graph::ops::LayerNorm;
use gradus_graph::{AttentionOptions, Graph, Scope, grad};

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for shape in [[1, 1], [5, 7], [257, 33], [70_001, 3]] {
        // A product between pointwise ops, whose operand is wanted outside too.
        let width = shape[1];
        let mixed = row(
            "checkpoint",
            [Gen::normal(shape), Gen::normal([width, width])],
            move |graph, x| {
                let (inside, h) = segment(graph, || {
                    let h = x[0].tanh();
                    (h.matmul(x[1]).sigmoid() * h, h)
                });
                inside + h.sin()
            },
        );
        rows.push(mixed.sums_over(shape[0].max(width)).ulps(64.0));
    }
    let chain = row(
        "checkpoint",
        [Gen::normal([9, 17]), Gen::uniform([17, 17], -0.4, 0.4)],
        |graph, x| {
            let w = x[1];
            let h = segment(graph, || x[0].matmul(w).tanh().matmul(w).tanh());
            segment(graph, || h.matmul(w).tanh().matmul(w).tanh())
        },
    );
    rows.push(chain.note("one after another").sums_over(34).ulps(64.0));
    let nested = row("checkpoint", [Gen::normal([6, 5])], |graph, x| {
        segment(graph, || {
            let h = segment(graph, || x[0].exp().sin());
            h.tanh() * h
        })
    });
    rows.push(nested.note("nested").ulps(64.0));
    let dropout = row("checkpoint", [Gen::normal([33, 65])], |graph, x| {
        let scope = Scope::root(graph, true).child("layer");
        scope.checkpoint(|| scope.dropout(x[0].tanh(), 0.4).sin())
    });
    rows.push(dropout.note("masks").ulps(64.0));
    let views = row("checkpoint", [Gen::normal([4, 6, 8])], |graph, x| {
        segment(graph, || {
            let h = x[0].tanh().permute(&[2, 0, 1]).reshape([8, 24]);
            let turned = h.transpose();
            h.slice_axis(1, 3, 20).matmul(turned.slice_axis(0, 3, 20))
        })
    });
    rows.push(views.note("views").sums_over(24).ulps(64.0));
    let norm = row("checkpoint", [Gen::normal([12, 40])], |graph, x| {
        let op = LayerNorm {
            axes: 1,
            eps: 1e-5,
            centered: true,
        };
        segment(graph, || x[0].composite(op, &[]).softmax() * x[0])
    });
    rows.push(norm.note("norm and softmax").sums_over(40).ulps(128.0));
    let attention = row("checkpoint", [Gen::normal([2, 9, 6, 4])], |graph, x| {
        segment(graph, || {
            let h = x[0].tanh();
            let options = AttentionOptions::new().causal(true);
            h.self_attention(2, 2, &options) + h.slice_axis(2, 1, 3)
        })
    });
    rows.push(attention.note("attention").sums_over(24).ulps(128.0));
    let last = row("checkpoint", [Gen::normal([2, 9, 6, 4])], |graph, x| {
        let options = AttentionOptions::new();
        let attend = || x[0].tanh().self_attention(2, 2, &options);
        segment(graph, || attend().reshape([2, 9, 8])).sin()
    });
    rows.push(last.note("attention last").sums_over(24).ulps(128.0));
    let gradient = row("checkpoint", [Gen::normal([7, 5])], |graph, x| {
        segment(graph, || {
            let inner = x[0].tanh().square().sum_all();
            grad(inner, &[x[0]])[0] * x[0]
        })
    });
    rows.push(gradient.note("a gradient inside").ulps(64.0));
    let max = row("checkpoint", [Gen::normal([11, 13])], |graph, x| {
        segment(graph, || x[0].exp().max(&[1]).log())
    });
    rows.push(max.note("maximum").ulps(64.0));
    rows
}

fn segment<T>(graph: &Graph, f: impl FnOnce() -> T) -> T {
    Scope::root(graph, true).checkpoint(f)
}
