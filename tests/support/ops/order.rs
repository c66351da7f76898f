//! Running results and sorted orders.

use gradus_graph::{DType, Var};

use super::{Gen, Row, row};

const SHAPES: [(&[usize], isize); 8] = [
    (&[1], 0),
    (&[7], 0),
    (&[257], -1),
    (&[3, 31], 1),
    (&[31, 3], 0),
    (&[2, 64, 3], -2),
    (&[3, 0], 1),
    (&[2, 1], -1),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = scans();
    rows.extend(sorts());
    rows
}

fn scans() -> Vec<Row> {
    let mut rows = Vec::new();
    type Function = for<'g> fn(Var<'g>, isize) -> Var<'g>;
    let ops: &[(&str, Function)] = &[
        ("cumsum", |x, a| x.cumsum(a)),
        ("cumprod", |x, a| (x * 0.2 + 1.0).cumprod(a)),
        ("cummax", |x, a| x.cummax(a).0),
        ("linear_scan", |x, a| x.linear_scan(0.9, a)),
    ];
    for &(op, f) in ops {
        for (dims, axis) in SHAPES {
            let values = match op {
                "cummax" => Gen::distinct(dims, 1e-2),
                _ => Gen::uniform(dims, -1.0, 1.0),
            };
            let built = row(op, [values], move |_, x| f(x[0], axis));
            rows.push(
                built
                    .note(&format!("over {axis}"))
                    .sums_over(257)
                    .ulps(256.0),
            );
        }
    }
    // Blocks of blocks, from both ends, and an axis beside others.
    let long: [(&[usize], isize); 4] = [
        (&[5000], 0),
        (&[2, 70_001], 1),
        (&[3001, 5], 0),
        (&[100, 170, 1], 1),
    ];
    for (dims, axis) in long {
        let terms = dims[usize::try_from(axis).unwrap()];
        for &(op, f) in ops {
            let f: Function = match op {
                "cumprod" => |x, a| (x * 0.001 + 1.0).cumprod(a),
                _ => f,
            };
            let values = match op {
                "cummax" => Gen::distinct(dims, 1e-2),
                _ => Gen::uniform(dims, -1.0, 1.0),
            };
            let built = row(op, [values], move |_, x| f(x[0], axis)).note("long");
            let built = built.sums_over(terms).ulps(terms as f64 / 4.0);
            rows.push(if terms > 5000 || op == "cummax" {
                built.parity_only()
            } else {
                built
            });
        }
    }
    let both = [Gen::uniform([3, 300], 0.5, 1.0), Gen::normal([3, 300])];
    rows.push(
        row("linear_scan", both, |_, x| x[1].linear_scan(x[0], 1))
            .note("of two")
            .sums_over(300)
            .ulps(64.0),
    );
    let zeros = Gen::floats(
        [4, 3],
        &[1.5, -2.0, 3.0, 0.0, 2.0, -0.5, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0],
    );
    rows.push(row("cumprod", [zeros], |_, x| x[0].cumprod(1)).note("zeros"));
    for dims in [&[3usize, 9] as &[usize], &[2, 1000]] {
        for values in [Gen::any_i32(dims), Gen::any_u32(dims)] {
            let name = values
                .sample(&mut gradus_graph::philox::Rng::new(0, 0))
                .dtype()
                .to_string();
            rows.push(
                row("cumsum", [values], |_, x| {
                    x[0].cumsum(1) + x[0].cumprod(0) + x[0].linear_scan(3, 1)
                })
                .note(&format!("and others {name}"))
                .parity_only(),
            );
        }
    }
    let ties = Gen::i32s([3, 300], 0, 9);
    rows.push(
        row("cummax", [ties], |_, x| {
            let (value, index) = x[0].cast(DType::F32).cummax(1);
            value.cast(DType::I32) * 1000 + index
        })
        .note("ties")
        .parity_only(),
    );
    rows
}

fn sorts() -> Vec<Row> {
    let mut rows = Vec::new();
    let long: [(&[usize], isize); 5] = [
        (&[65, 3], 0),
        (&[3, 2048], 1),
        (&[2, 2049], 1),
        (&[70_001], 0),
        (&[5, 300], -1),
    ];
    for (dims, axis) in SHAPES.into_iter().chain(long) {
        let small = dims.iter().product::<usize>() < 3000;
        let values = || [Gen::distinct(dims, 1e-2)];
        let built = row("argsort", values(), move |_, x| {
            let (ascending, _) = x[0].sort(axis);
            let (descending, from) = x[0].sort_descending(axis);
            ascending + descending * (from.cast(DType::F32) + 1.0)
        });
        let built = built.note(&format!("sort over {axis}"));
        rows.push(if small { built } else { built.parity_only() });
        let built = row("argsort", [Gen::any_i32(dims)], move |_, x| {
            x[0].argsort(axis)
        });
        rows.push(built.note(&format!("i32 over {axis}")).parity_only());
        // Few values: the order of equal ones shows.
        let built = row("argsort", [Gen::u32s(dims, 5)], move |_, x| {
            x[0].argsort_descending(axis) - x[0].argsort(axis) * 3
        });
        rows.push(built.note(&format!("stable over {axis}")).parity_only());
    }
    let odd = [
        0.0,
        -0.0,
        1.0,
        f32::NAN,
        -1.0,
        f32::INFINITY,
        -0.0,
        f32::NAN,
        f32::NEG_INFINITY,
    ];
    for n in [9usize, 100, 3000] {
        let built = row("argsort", [Gen::floats([n], &odd)], |_, x| {
            x[0].argsort(0) * 2 + x[0].argsort_descending(0)
        });
        rows.push(built.note("NaN").parity_only());
    }
    rows.push(
        row("argsort", [Gen::distinct([3, 40], 1e-2)], |_, x| {
            let (value, index) = x[0].topk(5, 1);
            value * (index.cast(DType::F32) + 1.0) + x[0].topk_smallest(5, -1).0
        })
        .note("topk"),
    );
    rows.push(
        row("argsort", [Gen::distinct([7, 3], 1e-2)], |_, x| {
            x[0].topk(0, 0).0
        })
        .note("top 0"),
    );
    for n in [1usize, 6, 7] {
        rows.push(
            row("argsort", [Gen::distinct([n, 3], 1e-2)], |_, x| {
                let (value, index) = x[0].median(0);
                value * (index.cast(DType::F32) + 1.0)
            })
            .note("median"),
        );
    }
    rows.push(
        row("argsort", [Gen::floats([9, 2], &odd)], |_, x| {
            let (value, index) = x[0].median(0);
            value.is_nan().cast(DType::I32) * 9 + index
        })
        .note("median of NaN")
        .parity_only(),
    );
    // What a user cannot write is what a long sort is made of; sums into a table too.
    let shapes: [(&[usize], &[usize], usize); 4] = [
        (&[300, 8], &[1000], 8),
        (&[70_000, 2], &[257], 2),
        (&[9, 3], &[70_001], 3),
        (&[50, 5], &[3, 129], 5),
    ];
    for (table, index, _) in shapes {
        let bound = u32::try_from(table[0]).unwrap();
        let terms = index.iter().product::<usize>();
        let inputs = [Gen::normal(table), Gen::u32s(index, bound)];
        let built = row("scatter_add", inputs, |_, x| x[0].gather(x[1]).square())
            .note("sorted")
            .sums_over(terms);
        rows.push(if terms > 5000 {
            built.parity_only()
        } else {
            built
        });
    }
    rows
}
