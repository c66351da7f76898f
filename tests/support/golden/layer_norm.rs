//! `03a`: layer and RMS normalization, of constant rows and far from 0 too.

use gradus_graph::ops::LayerNorm;

use super::{Case, File, with_gradients};

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("03a_layernorm_rmsnorm");
    let op = |axes, eps, centered| LayerNorm {
        axes,
        eps,
        centered,
    };
    let parts: [(&str, LayerNorm, &[&str]); 4] = [
        (
            "ln_last",
            op(1, 1e-5, true),
            &["w.ln1.weight", "w.ln1.bias"],
        ),
        (
            "ln_last2",
            op(2, 1e-5, true),
            &["w.ln2.weight", "w.ln2.bias"],
        ),
        ("ln_noaffine_eps1e-3", op(1, 1e-3, true), &[]),
        ("rms", op(1, 1e-6, false), &["w.ln1.weight"]),
    ];
    let mut cases = Vec::new();
    for (part, op, affine) in parts {
        let inputs = [&["in.gy", "in.x"][..], affine].concat();
        let names = ["x", "weight", "bias"].into_iter().take(1 + affine.len());
        let gradients = names.map(|name| format!("grad.{part}.{name}"));
        let wanted: Vec<String> = std::iter::once(format!("out.{part}.y"))
            .chain(gradients)
            .collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        cases.push(Case::new(&file, part, &inputs, &wanted, move |_, x| {
            let y = x[1].composite(op, &x[2..]);
            with_gradients(y, x[0], &x[1..])
        }));
    }
    let parts: [(&str, &[&str]); 2] = [
        ("ln_const", &["in.x_const", "w.ln1.weight", "w.ln1.bias"]),
        ("ln_offset1000", &["in.x_offset"]),
    ];
    for (part, inputs) in parts {
        let wanted = format!("out.{part}.y");
        cases.push(Case::new(&file, part, inputs, &[&wanted], move |_, x| {
            vec![x[0].composite(op(1, 1e-5, true), &x[1..])]
        }));
    }
    cases
}
