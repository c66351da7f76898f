//! `08b`: reductions over one and several axes, long sums, ties.

use std::sync::Arc;

use gradus_graph::{Array, Graph, Var};

use super::{Case, File, one, with_gradients};

/// The reduction that keeps its axes.
type Function = for<'g> fn(Var<'g>, &[isize]) -> Var<'g>;

/// A running result along an axis.
type Scan = for<'g> fn(Var<'g>, isize) -> Var<'g>;

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
        ("logsumexp", |x, axes| x.logsumexp_keep(axes)),
        ("var", |x, axes| x.var_keep(axes, 1.0)),
        ("var_biased", |x, axes| x.var_keep(axes, 0.0)),
        ("std", |x, axes| x.std_keep(axes, 1.0)),
        ("norm2", |x, axes| x.norm_keep(axes, 2.0)),
        ("norm1", |x, axes| x.norm_keep(axes, 1.0)),
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
    for axis in 0..3usize {
        let part = format!("prod.d{axis}");
        let wanted = [format!("out.{part}"), format!("grad.{part}.x")];
        let wanted = wanted.each_ref().map(String::as_str);
        cases.push(Case::new(&file, &part, &["in.x"], &wanted, move |g, x| {
            let y = x[0].prod(&[axis.cast_signed()]);
            with_gradients(y, g.full(y.shape(), 1.0), x)
        }));
        let scans: [(&str, Scan); 2] = [
            ("cumsum", |x, axis| x.cumsum(axis)),
            ("cumprod", |x, axis| x.cumprod(axis)),
        ];
        for (op, f) in scans {
            let part = format!("{op}.d{axis}");
            let wanted = [format!("out.{part}"), format!("grad.{part}.x")];
            let wanted = wanted.each_ref().map(String::as_str);
            cases.push(Case::new(&file, &part, &["in.x"], &wanted, move |_, x| {
                with_gradients(f(x[0], axis.cast_signed()), x[0], x)
            }));
        }
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
        vec![x[0].sum_all(), x[0].mean_all(), x[0].var(&[0], 1.0)]
    }));
    cases.extend(ties(&file));
    cases
}

fn ties(file: &Arc<File>) -> Vec<Case> {
    let inputs = ["in.ties"];
    let amax = ["out.ties.amax1", "grad.ties.amax1.x"];
    let maxall = ["out.ties.maxall", "grad.ties.maxall.x"];
    let max = ["out.ties.max1", "grad.ties.max1.x", "out.ties.max1.idx"];
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
            let dy = g.full([3, 4], 1.0);
            with_gradients(x[0].maximum(x[0].flip(&[1])), dy, x).split_off(1)
        }),
        Case::new(file, "ties.max1", &inputs, &max, |g, x| {
            let dy = g.literal(Array::vector(vec![1.0f32, 2.0, 3.0]));
            let (value, index) = x[0].max_with_index(1);
            let mut outputs = with_gradients(value, dy, x);
            outputs.push(index);
            outputs
        }),
    ]
}

/// The cotangent of the file: `n` even steps from −1, without it, to 1.
fn cotangent<'g>(graph: &'g Graph, y: Var<'g>) -> Var<'g> {
    let n = y.shape().numel();
    let value = |i: usize| (-1.0 + 2.0 * (i + 1) as f64 / n as f64) as f32;
    graph.literal(Array::new(y.shape(), (0..n).map(value).collect::<Vec<_>>()).unwrap())
}
