//! `own_sequences`: recurrent layers, attention and transformer layers beside PyTorch.

use gradus_graph::{AttentionOptions, Graph, Layer, Scope, Var};
use gradus_nn::{
    Activation, Attend, Cell, MultiHeadAttention, Recurrent, TransformerDecoderLayer,
    TransformerEncoderLayer,
};

use super::Case;
use super::own::{Part, cases_of, part};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |params: &[&str], parts: Vec<(String, Part)>| {
        cases.extend(cases_of("own_sequences", params, parts));
    };
    let side = |name: &str| {
        ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|kind| format!("{kind}_{name}"))
    };
    let both = ["l0", "l0_reverse", "l1", "l1_reverse"].map(side).concat();
    add(
        &refs(&both),
        vec![
            recurrent(
                "lstm.2_both",
                Recurrent::new(Cell::Lstm, 4).layers(2).bidirectional(),
            ),
            recurrent(
                "gru.2_both",
                Recurrent::new(Cell::Gru, 4).layers(2).bidirectional(),
            ),
        ],
    );
    add(
        &refs(&["l0", "l1"].map(side).concat()),
        vec![recurrent(
            "rnn.relu_2",
            Recurrent::new(Cell::Relu, 4).layers(2),
        )],
    );
    add(
        &["weight_ih_l0", "weight_hh_l0"],
        vec![recurrent(
            "rnn.tanh_no_bias",
            Recurrent::new(Cell::Tanh, 4).no_bias(),
        )],
    );
    let projections = [
        "in_proj_weight",
        "in_proj_bias",
        "out_proj.weight",
        "out_proj.bias",
    ];
    add(
        &projections,
        vec![part("attention.cross_absent", |s, x| {
            let to = Attend::new().memory(x[1]).keys(present(s.graph()));
            MultiHeadAttention::new(2).attend(s, x[0], to)
        })],
    );
    add(
        &["in_proj_weight", "out_proj.weight"],
        vec![part("attention.causal_no_bias", |s, x| {
            MultiHeadAttention::new(3)
                .causal()
                .no_bias()
                .forward(s, x[0])
        })],
    );
    add(&[], scaled());
    let norm = |n: usize| [format!("norm{n}.weight"), format!("norm{n}.bias")];
    let attention = |name: &str| projections.map(|p| format!("{name}.{p}"));
    let fed = [
        "linear1.weight",
        "linear1.bias",
        "linear2.weight",
        "linear2.bias",
    ];
    let fed = fed.map(String::from);
    let own = attention("self_attn");
    let other = attention("multihead_attn");
    let encoder = |first: bool| {
        let blocks: [&[String]; 4] = match first {
            true => [&norm(1), &own, &norm(2), &fed],
            false => [&own, &norm(1), &fed, &norm(2)],
        };
        blocks.concat()
    };
    let decoder = |first: bool| {
        let blocks: [&[String]; 6] = match first {
            true => [&norm(1), &own, &norm(2), &other, &norm(3), &fed],
            false => [&own, &norm(1), &other, &norm(2), &fed, &norm(3)],
        };
        blocks.concat()
    };
    add(
        &refs(&encoder(true)),
        vec![part("encoder.first_gelu", |s, x| {
            TransformerEncoderLayer::new(2).hidden(12).forward(s, x[0])
        })],
    );
    add(
        &refs(&encoder(false)),
        vec![part("encoder.last_relu_absent", |s, x| {
            let keys = present(s.graph()).slice_axis(1, 1, 6);
            let layer = TransformerEncoderLayer::new(2).hidden(12).norm_last();
            layer
                .activation(Activation::Relu)
                .encode(s, x[0], Attend::new().keys(keys))
        })],
    );
    for (name, first, activation) in [
        ("decoder.first_relu", true, Activation::Relu),
        ("decoder.last_gelu", false, Activation::Gelu),
    ] {
        add(
            &refs(&decoder(first)),
            vec![part(name, move |s, x| {
                let layer = TransformerDecoderLayer::new(2)
                    .hidden(12)
                    .activation(activation);
                let layer = if first { layer } else { layer.norm_last() };
                let to = Attend::new().memory(x[1]).keys(present(s.graph()));
                layer.decode(s, x[0], Attend::new(), to)
            })],
        );
    }
    cases
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The keys `[2, 6]` that are there.
fn present(graph: &Graph) -> Var<'_> {
    let absent = [[0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0]];
    let absent: Vec<i32> = absent.concat();
    graph
        .literal(gradus_graph::Array::new([2, 6], absent).unwrap())
        .eq(0)
}

/// The states at all times, then the last ones.
fn recurrent(name: &str, layer: Recurrent) -> (String, Part) {
    part(name, move |s: &Scope<'_>, x| {
        let all = layer.unroll(s, x[0], None, None);
        let last = [Some(all.hidden), all.cell];
        let last: Vec<Var<'_>> = last.into_iter().flatten().map(|v| v.flatten(0)).collect();
        all.output.flatten(0).concat(&last, 0)
    })
}

fn scaled() -> Vec<(String, Part)> {
    let options = AttentionOptions::new;
    vec![
        part("sdpa.grouped", move |_, x| {
            x[0].attention(x[1], x[2], &options())
        }),
        part("sdpa.added", move |_, x| {
            x[0].attention(x[1], x[2], &options().mask(x[3]))
        }),
        part("sdpa.scaled", move |_, x| {
            x[0].attention(x[1], x[2], &options().scale(0.3))
        }),
    ]
}
