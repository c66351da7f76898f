//! Reductions over any axes; one with more than 70,000 terms, one with more than 65,535 rows.

use gradus_graph::{DType, Var};

use super::{Gen, Row, row};

type Reduce = for<'g> fn(Var<'g>, &[isize]) -> Var<'g>;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let ops: [(&str, Reduce); 4] = [
        ("sum", |x, axes| x.sum(axes)),
        ("mean", |x, axes| x.mean(axes)),
        ("max", |x, axes| x.max(axes)),
        ("min", |x, axes| x.min(axes)),
    ];
    // Shape, axes, terms of a sum.
    let shapes: [(&[usize], &'static [isize], usize); 14] = [
        (&[1], &[0], 1),
        (&[7], &[0], 7),
        (&[257], &[0], 257),
        (&[3, 257], &[-1], 257),
        (&[257, 3], &[0], 257),
        (&[3, 4, 5], &[1], 4),
        (&[3, 4, 5], &[0, 2], 15),
        (&[3, 4, 5], &[0, 1, 2], 60),
        (&[2, 3, 4, 5], &[1, 3], 15),
        (&[5, 1, 7], &[1], 1),
        (&[70_001], &[0], 70_001),
        (&[2, 70_001], &[1], 70_001),
        (&[70_001, 2], &[0], 70_001),
        (&[70_001, 3], &[1], 3),
    ];
    for (op, f) in ops {
        for (dims, axes, terms) in shapes {
            // Ties and near ties have no derivative that differences find.
            let n: usize = dims.iter().product();
            let extreme = op == "max" || op == "min";
            let input = if extreme {
                Gen::distinct(dims, 1e-3)
            } else {
                Gen::normal(dims)
            };
            let built = row(op, [input], move |_, x| f(x[0], axes));
            let built = built.note(&format!("over {axes:?}")).sums_over(terms);
            rows.push(if extreme && n > 10_000 {
                built.parity_only()
            } else {
                built
            });
        }
        let ties = Gen::floats([4, 9], &[1.0, 2.0, 2.0, 1.0, 0.0]);
        if op == "max" || op == "min" {
            rows.push(
                row(op, [ties], move |_, x| f(x[0], &[1]))
                    .note("ties")
                    .parity_only(),
            );
        }
    }
    let integers: [(&str, Reduce); 3] = [ops[0], ops[2], ops[3]];
    for (op, f) in integers {
        for dims in [&[5usize, 257] as &[usize], &[2, 70_001]] {
            let input = [Gen::any_i32(dims)];
            rows.push(
                row(op, input, move |_, x| f(x[0], &[1]))
                    .note("i32")
                    .parity_only(),
            );
            let input = [Gen::any_u32(dims)];
            rows.push(
                row(op, input, move |_, x| f(x[0], &[0]))
                    .note("u32")
                    .parity_only(),
            );
        }
    }
    rows.push(row("sum", [Gen::normal([3, 0])], |_, x| x[0].sum(&[1])).note("of nothing"));
    rows.push(row("sum", [Gen::normal([0, 3])], |_, x| x[0].sum(&[1])).note("empty"));
    rows.push(row("max", [Gen::normal([0, 3])], |_, x| x[0].max(&[1])).note("empty"));
    rows.push(row("sum", [Gen::normal([3, 5])], |_, x| x[0].sum_keep(&[])).note("over no axis"));
    rows.push(
        row("sum", [Gen::bools([3, 257])], |_, x| {
            x[0].cast(DType::F32).sum(&[1])
        })
        .note("of truth")
        .parity_only(),
    );
    // Two reductions that feed each other: a variance and a long mean of squares.
    rows.push(
        row("mean", [Gen::normal([33, 65])], |_, x| {
            let centered = x[0] - x[0].mean_keep(&[1]);
            centered.square().mean(&[1])
        })
        .note("variance")
        .sums_over(65),
    );
    rows.push(
        row("sum", [Gen::normal([9, 7])], |_, x| {
            x[0].square().sum(&[0]) * x[0].permute(&[1, 0]).sum(&[1])
        })
        .note("two of one")
        .sums_over(9),
    );
    rows.extend(positions());
    rows
}

fn positions() -> Vec<Row> {
    let mut rows = Vec::new();
    type Arg = for<'g> fn(Var<'g>, isize) -> Var<'g>;
    let ops: [(&str, Arg); 2] = [
        ("argmax", |x, a| x.argmax(a)),
        ("argmin", |x, a| x.argmin(a)),
    ];
    for (op, f) in ops {
        let shapes: [(&[usize], isize); 7] = [
            (&[1], 0),
            (&[257], 0),
            (&[3, 257], -1),
            (&[257, 3], 0),
            (&[3, 4, 5], 1),
            (&[2, 70_001], 1),
            (&[70_001, 3], 1),
        ];
        for (dims, axis) in shapes {
            let built = row(op, [Gen::distinct(dims, 1e-3)], move |_, x| f(x[0], axis));
            rows.push(built.note(&format!("over {axis}")).parity_only());
        }
        let ties = [Gen::floats([4, 9], &[1.0, 2.0, 2.0, 1.0, 0.0, 0.0])];
        rows.push(
            row(op, ties, move |_, x| f(x[0], 1))
                .note("first of ties")
                .parity_only(),
        );
        let ints = [Gen::i32s([5, 257], -3, 4)];
        rows.push(
            row(op, ints, move |_, x| f(x[0], 1))
                .note("i32")
                .parity_only(),
        );
        let ints = [Gen::any_u32([5, 257])];
        rows.push(
            row(op, ints, move |_, x| f(x[0], 0))
                .note("u32")
                .parity_only(),
        );
    }
    rows
}
