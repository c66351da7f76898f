//! `08b`: reductions over one and several axes, long sums, ties.

use std::sync::Arc;

use gradus_graph::{Array, Graph, Var};

use super::{Case, File, one, with_gradients};

/// The reduction that keeps its axes.
type Function = for<'g> fn(Var<'g>, &[isize]) -> Var<'g>;

const AXES: [(&str, &[isize]); 6] = [
    ("d0", &[0]),
    ("d1", &[1]),
    ("dm1", &[-1]),
    ("d02", &[0, 2]),
    ("d12", &[1, 2]),
    ("all", &[0, 1, 2]),
];

pub(super) fn cases() -> Vec<Case> {
    let file = File::open("08b_reductions");
    let ops: &[(&str, Function)] = &[
        ("sum", |x, axes| x.sum_keep(axes)),
        ("mean", |x, axes| x.mean_keep(axes)),
        ("amax", |x, axes| x.max_keep(axes)),
        ("amin", |x, axes| x.min_keep(axes)),
        ("logsumexp", |x, axes| {
            let peak = x.stop_gradient().max_keep(axes);
            (x - peak).exp().sum_keep(axes).log() + peak
        }),
        ("var", |x, axes| variance(x, axes, 1.0)),
        ("var_biased", |x, axes| variance(x, axes, 0.0)),
        ("std", |x, axes| variance(x, axes, 1.0).sqrt()),
        ("norm2", |x, axes| x.square().sum_keep(axes).sqrt()),
        ("norm1", |x, axes| x.abs().sum_keep(axes)),
    ];
    let mut cases = Vec::new();
    for &(op, f) in ops {
        for (name, axes) in AXES {
            let part = format!("{op}.{name}");
            let wanted = [
                format!("out.{part}.keep"),
                format!("grad.{part}.x"),
                format!("out.{part}"),
            ];
            let wanted = wanted.each_ref().map(String::as_str);
            cases.push(Case::new(&file, &part, &["in.x"], &wanted, move |g, x| {
                let y = f(x[0], axes);
                let mut outputs = with_gradients(y, cotangent(g, y), x);
                let kept = (0..3isize).filter(|a| !axes.contains(a) && !axes.contains(&(a - 3)));
                outputs.push(y.reshape(kept.map(|a| y.dim(a)).collect::<Vec<_>>()));
                outputs
            }));
        }
    }
    for axis in 0..3usize {
        let wanted = [
            format!("out.argmax.d{axis}"),
            format!("out.argmin.d{axis}.keep"),
        ];
        let wanted = wanted.each_ref().map(String::as_str);
        let part = format!("arg.d{axis}");
        cases.push(Case::new(&file, &part, &["in.x"], &wanted, move |_, x| {
            let along = axis.cast_signed();
            let shape = x[0].shape().with_axis(axis, 1);
            vec![x[0].argmax(along), x[0].argmin(along).reshape(shape)]
        }));
    }
    cases.push(Case::new(
        &file,
        "argmax.flat",
        &["in.x"],
        &["out.argmax.flat"],
        |_, x| vec![x[0].flatten(0).argmax(0)],
    ));
    let wanted = ["out.big.sum", "out.big.mean", "out.big.var"];
    cases.push(Case::new(&file, "big", &["in.big"], &wanted, |_, x| {
        vec![
            x[0].sum_all(),
            x[0].mean_all(),
            variance(x[0], &[0], 1.0).reshape(()),
        ]
    }));
    cases.extend(ties(&file));
    cases
}

fn ties(file: &Arc<File>) -> Vec<Case> {
    let inputs = ["in.ties"];
    let amax = ["out.ties.amax1", "grad.ties.amax1.x"];
    let maxall = ["out.ties.maxall", "grad.ties.maxall.x"];
    let flip = ["grad.ties.maximum_with_flip.x"];
    vec![
        Case::new(file, "ties.amax1", &inputs, &amax, |g, x| {
            let dy = g.literal(Array::vector(vec![1.0f32, 2.0, 3.0]));
            with_gradients(x[0].max(&[1]), dy, x)
        }),
        Case::new(file, "ties.maxall", &inputs, &maxall, |g, x| {
            with_gradients(x[0].max(&[0, 1]), one(g), x)
        }),
        Case::new(
            file,
            "ties.argmax1",
            &inputs,
            &["out.ties.argmax1"],
            |_, x| vec![x[0].argmax(1)],
        ),
        Case::new(file, "ties.maximum", &inputs, &flip, |g, x| {
            let column = |i| x[0].slice_axis(1, i, i + 1);
            let flipped = column(3).concat(&[column(2), column(1), column(0)], 1);
            let dy = g.full([3, 4], 1.0);
            with_gradients(x[0].maximum(flipped), dy, x).split_off(1)
        }),
    ]
}

/// Divides by `n − correction`.
fn variance<'g>(x: Var<'g>, axes: &[isize], correction: f64) -> Var<'g> {
    let count: usize = axes.iter().map(|&a| x.dim(a)).product();
    let centered = x - x.mean_keep(axes);
    centered.square().sum_keep(axes) / (count as f64 - correction)
}

/// The cotangent of the file: `n` even steps from −1, without it, to 1.
fn cotangent<'g>(graph: &'g Graph, y: Var<'g>) -> Var<'g> {
    let n = y.shape().numel();
    let value = |i: usize| (-1.0 + 2.0 * (i + 1) as f64 / n as f64) as f32;
    graph.literal(Array::new(y.shape(), (0..n).map(value).collect::<Vec<_>>()).unwrap())
}
