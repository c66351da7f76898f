//! `04a`: multi-head attention from packed queries, keys and values.

use gradus_graph::{AttentionOptions, Var};

use super::{Case, File, with_gradients};

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("04a_multihead_attention");
    let parts = [("causal", true), ("full", false), ("padded", false)];
    let mut cases = Vec::new();
    for (part, causal) in parts {
        let layer = [
            "in.x",
            "w.qkv.weight",
            "w.qkv.bias",
            "w.proj.weight",
            "w.proj.bias",
            "in.gy",
            "in.key_padding_add",
        ];
        let names = ["x", "qkv.weight", "qkv.bias", "proj.weight", "proj.bias"];
        let gradients = names.map(|name| format!("grad.{part}.{name}"));
        let wanted = [vec![format!("out.{part}.y")], gradients.to_vec()].concat();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        cases.push(Case::new(&file, part, &layer, &wanted, move |_, x| {
            let mut options = AttentionOptions::new().causal(causal);
            if part == "padded" {
                options = options.mask(x[6]);
            }
            let y = heads(x[0], x[1], x[2]).self_attention(4, 4, &options);
            let y = y.reshape([2, 6, 16]).matmul(x[3].transpose()) + x[4];
            with_gradients(y, x[5], &x[..5])
        }));
        // The weights themselves, which no kernel of attention leaves in memory.
        let wanted = format!("out.{part}.attn");
        let name = format!("{part} weights");
        cases.push(Case::new(&file, &name, &layer, &[&wanted], move |g, x| {
            let heads = heads(x[0], x[1], x[2]).permute(&[0, 2, 1, 3]);
            let (q, k) = (heads.slice_axis(1, 0, 4), heads.slice_axis(1, 4, 8));
            let mut scores = q.matmul(k.transpose()) * 0.5;
            if part == "padded" {
                scores = scores + x[6];
            }
            if causal {
                let later = g.iota([6, 6], 1).gt(g.iota([6, 6], 0));
                scores = later.select(f32::MIN, scores);
            }
            vec![scores.softmax()]
        }));
    }
    cases
}

/// Heads of queries, keys and values, one after the other: `[B, T, 12, 4]`.
fn heads<'g>(x: Var<'g>, weight: Var<'g>, bias: Var<'g>) -> Var<'g> {
    (x.matmul(weight.transpose()) + bias).reshape([2, 6, 12, 4])
}
