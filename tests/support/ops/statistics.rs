//! Reductions made of others: moments, norms, truth.

use gradus_graph::{DType, Var};

use super::{Gen, Row, row};

type Function = for<'g> fn(Var<'g>, &[isize]) -> Var<'g>;

/// An extreme and its position.
type Extreme = for<'g> fn(Var<'g>) -> [Var<'g>; 2];

const SHAPES: [(&[usize], &[isize]); 5] = [
    (&[7], &[0]),
    (&[3, 257], &[-1]),
    (&[257, 3], &[0]),
    (&[3, 4, 5], &[0, 2]),
    (&[2, 1, 3], &[1, 2]),
];

pub(super) fn rows() -> Vec<Row> {
    let ops: &[(&str, Function)] = &[
        ("var", |x, a| x.var(a, 1.0)),
        ("var", |x, a| x.var_keep(a, 0.0)),
        ("std", |x, a| x.std(a, 1.0)),
        ("logsumexp", |x, a| x.logsumexp(a)),
        ("norm", |x, a| x.norm(a, 1.0)),
        ("norm", |x, a| x.norm(a, 2.0)),
        ("norm", |x, a| x.norm_keep(a, f64::INFINITY)),
        ("norm", |x, a| x.norm(a, f64::NEG_INFINITY)),
        ("norm", |x, a| x.norm(a, 0.0)),
        ("norm", |x, a| x.norm(a, 3.0)),
        ("norm", |x, a| x.norm(a, 0.5)),
        ("norm", |x, a| x.norm(a, -1.5)),
    ];
    let mut rows = Vec::new();
    for (number, &(op, f)) in ops.iter().enumerate() {
        for (dims, axes) in SHAPES {
            let built = row(
                op,
                [Gen::uniform(dims, -2.0, 2.0).keeping(|x| x.abs() > 0.3)],
                move |_, x| f(x[0], axes),
            );
            let built = built.note(&format!("{number} over {axes:?}"));
            rows.push(built.sums_over(257).ulps(256.0));
        }
    }
    // Zeros in a norm, a norm and a deviation of 0: the gradient is 0, not NaN.
    let zeros: &[(&str, Function)] = &[
        ("norm", |x, a| x.norm(a, 2.0)),
        ("norm", |x, a| x.norm(a, 0.5)),
        ("norm", |x, a| x.norm(a, -1.0)),
        ("std", |x, a| x.std(a, 0.0)),
    ];
    for (number, &(op, f)) in zeros.iter().enumerate() {
        let values = Gen::floats([2, 3], &[0.0, 0.0, 0.0, 1.0, 0.0, 2.0]);
        let built = row(op, [values], move |_, x| {
            let y = f(x[0], &[1]);
            y + gradus_graph::grad(y.sum_all(), x)[0].sum(&[1])
        });
        rows.push(
            built
                .note(&format!("zeros {number}"))
                .ulps(64.0)
                .parity_only(),
        );
    }
    let empty = || [Gen::normal([3, 0])];
    rows.push(row("norm", empty(), |_, x| x[0].norm(&[1], 2.0)).note("of nothing"));
    rows.push(
        row("var", empty(), |_, x| {
            x[0].var(&[1], 1.0).is_nan().and(x[0].mean(&[1]).is_nan())
        })
        .note("of nothing")
        .parity_only(),
    );
    rows.push(
        row("var", [Gen::normal([4, 1])], |_, x| {
            x[0].var(&[1], 1.0).is_nan()
        })
        .note("of one")
        .parity_only(),
    );
    rows.push(
        row("logsumexp", [Gen::normal([3, 257])], |_, x| {
            (x[0] * 900.0).logsumexp(&[1])
        })
        .note("of large")
        .ulps(64.0)
        .sums_over(257),
    );
    rows.push(
        row("logsumexp", [Gen::normal([3, 5])], |_, x| {
            (x[0] - 1e38 * 10.0).logsumexp(&[1]).lt(-3e38)
        })
        .note("of the lowest")
        .parity_only(),
    );
    rows.extend(products());
    rows.extend(truth());
    rows
}

fn products() -> Vec<Row> {
    let mut rows = Vec::new();
    for (dims, axes) in SHAPES {
        let built = row("prod", [Gen::uniform(dims, 0.9, 1.1)], move |_, x| {
            x[0].prod(axes)
        });
        rows.push(
            built
                .note(&format!("over {axes:?}"))
                .sums_over(257)
                .ulps(512.0),
        );
    }
    let zeros = Gen::floats(
        [4, 3],
        &[1.5, -2.0, 3.0, 0.0, 2.0, -0.5, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0],
    );
    rows.push(
        row("prod", [zeros], |_, x| x[0].prod(&[1]))
            .note("zeros")
            .ulps(16.0),
    );
    rows.push(row("prod", [Gen::normal([3, 0])], |_, x| x[0].prod_keep(&[1])).note("of nothing"));
    for dims in [&[5usize, 9] as &[usize], &[2, 70_001]] {
        rows.push(
            row("prod", [Gen::any_i32(dims)], |_, x| {
                (x[0] * 2 + 1).prod(&[1])
            })
            .note("i32")
            .parity_only(),
        );
        rows.push(
            row("prod", [Gen::any_u32(dims)], |_, x| x[0].prod(&[0]))
                .note("u32")
                .parity_only(),
        );
    }
    rows.push(
        row("prod", [Gen::uniform([2, 9001], 0.9999, 1.0001)], |_, x| {
            x[0].prod(&[1])
        })
        .note("long")
        .sums_over(9001)
        .ulps(20_000.0)
        .parity_only(),
    );
    let extremes: &[(&str, Extreme)] = &[
        ("max", |x| x.max_with_index(1).into()),
        ("min", |x| x.min_with_index(-1).into()),
        ("max", |x| x.transpose().max_with_index(0).into()),
    ];
    for (number, &(op, f)) in extremes.iter().enumerate() {
        let ties = Gen::floats([4, 6], &[1.0, 2.0, 2.0, 1.0, 0.0, 0.0]);
        for (what, values) in [("ties", ties), ("", Gen::distinct([5, 257], 1e-3))] {
            let built = row(op, [values], move |_, x| {
                let [value, index] = f(x[0]);
                value * (index.cast(DType::F32) + 1.0)
            });
            let built = built.note(&format!("with index {number} {what}"));
            // Differences see both sides of a tie.
            rows.push(if what.is_empty() {
                built
            } else {
                built.parity_only()
            });
        }
    }
    rows
}

fn truth() -> Vec<Row> {
    let ops: &[(&str, Function)] = &[
        ("any", |x, a| x.any(a)),
        ("all", |x, a| x.all(a)),
        ("count_nonzero", |x, a| x.count_nonzero(a)),
    ];
    let mut rows = Vec::new();
    for &(op, f) in ops {
        let shapes = SHAPES
            .into_iter()
            .chain([(&[3usize, 0] as &[usize], &[1isize] as &[isize])]);
        for (dims, axes) in shapes {
            for (what, values) in [
                ("bool", Gen::bools(dims)),
                ("f32", Gen::i32s(dims, -1, 2)),
                ("i32", Gen::i32s(dims, 0, 2)),
            ] {
                let built = row(op, [values], move |_, x| {
                    let x = if what == "f32" {
                        x[0].cast(DType::F32)
                    } else {
                        x[0]
                    };
                    f(x, axes)
                });
                rows.push(built.note(&format!("{what} over {axes:?}")).parity_only());
            }
        }
    }
    rows
}
