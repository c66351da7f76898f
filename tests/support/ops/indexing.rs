//! Rows of a table by index, and the ordered sum that is its gradient.

use gradus_graph::DType;

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let table: [(&[usize], &[usize], &str, usize); 8] = [
        (&[10, 4], &[7], "", 7),
        (&[10], &[257], "of a vector", 257),
        (&[5, 2, 3], &[4, 6], "of matrices", 24),
        (&[31, 17], &[], "one", 1),
        (&[3, 257], &[2, 1], "wide", 2),
        (&[5, 2], &[70_001], "many", 70_001),
        (&[70_001, 2], &[9], "from many", 9),
        (&[5, 3], &[0], "none", 1),
    ];
    let mut rows = Vec::new();
    for (x, index, note, terms) in table {
        let bound = i32::try_from(x[0]).unwrap();
        let inputs = [Gen::normal(x), Gen::i32s(index, 0, bound)];
        rows.push(
            row("gather", inputs, |_, x| x[0].gather(x[1]))
                .note(note)
                .sums_over(terms),
        );
    }
    let inputs = [Gen::normal([10, 4]), Gen::u32s([7], 10)];
    rows.push(
        row("gather", inputs, |_, x| x[0].gather(x[1]))
            .note("u32")
            .sums_over(7),
    );
    let inputs = [Gen::any_i32([10, 4]), Gen::u32s([7], 10)];
    rows.push(
        row("gather", inputs, |_, x| x[0].gather(x[1]))
            .note("of i32")
            .parity_only(),
    );
    let inputs = [Gen::bools([10]), Gen::u32s([7], 10)];
    rows.push(
        row("gather", inputs, |_, x| x[0].gather(x[1]))
            .note("of bool")
            .parity_only(),
    );
    // The gradient of a gather is a scatter, and that of a scatter a gather.
    let inputs = [Gen::normal([6, 3]), Gen::i32s([257], 0, 6)];
    rows.push(
        row("scatter_add", inputs, |g, x| {
            let y = x[0].gather(x[1]).square().sum_all();
            let dx = gradus_graph::grad(y, &x[..1])[0];
            dx * x[0] + g.scalar(0.0)
        })
        .note("as a gradient")
        .sums_over(257),
    );
    let inputs = [Gen::normal([9, 4]), Gen::i32s([5], 0, 9)];
    rows.push(
        row("gather", inputs, |_, x| {
            let y = x[0].transpose().reshape([9, 4]) * 2.0;
            y.gather(x[1]).tanh()
        })
        .note("of a view")
        .ulps(16.0)
        .sums_over(5),
    );
    let inputs = [Gen::normal([9, 4]), Gen::normal([9, 4])];
    rows.push(
        row("gather", inputs, |_, x| x[0].gather(x[1].argmax(1)))
            .note("by argmax")
            .sums_over(9)
            .parity_only(),
    );
    let inputs = [Gen::normal([31, 8]), Gen::i32s([3, 5], 0, 31)];
    rows.push(
        row("gather", inputs, |g, x| {
            let positions = g.iota([3, 5], 1).cast(DType::F32);
            let e = x[0].gather(x[1]) + positions.reshape([3, 5, 1]) * 0.1;
            e.sum(&[1]).softmax()
        })
        .note("embedding")
        .sums_over(15)
        .ulps(16.0),
    );
    rows.extend(along_axes());
    rows.extend(updated());
    rows.extend(first_positions());
    rows.extend(places());
    rows.extend(masks());
    rows
}

/// Where rows are named first, by indices that an op makes and for an op that reads them.
fn first_positions() -> Vec<Row> {
    let sizes = [
        (7, 10, "few"),
        (257, 31, "all"),
        (257, 1, "one row"),
        (40, 70_001, "of many"),
        (5_003, 997, "by runs"),
        (0, 5, "none"),
    ];
    let built = sizes.map(|(count, rows, note)| {
        let bound = u32::try_from(rows).unwrap();
        let inputs = [
            Gen::i32s([count], 0, i32::try_from(rows).unwrap()),
            Gen::u32s([count], bound),
            Gen::normal([count + 1]),
        ];
        let built = row("first_position", inputs, move |_, x| {
            let first = x[0].maximum(x[1].cast(DType::I32)).first_position(rows);
            x[2].gather(first).tanh() + first.cast(DType::F32)
        });
        built.note(note).sums_over(rows).ulps(16.0)
    });
    built.into()
}

/// Rows of each sample, from a place of its own on, that may lie outside.
fn updated() -> Vec<Row> {
    let shapes: [(&[usize], usize, &str); 7] = [
        (&[3, 7, 4], 2, "quads"),
        (&[2, 5, 3], 1, "one row"),
        (&[1, 4], 3, "no width"),
        (&[5, 3, 2, 8], 3, "all rows"),
        (&[2, 3, 4], 9, "more rows than there are"),
        (&[2, 3, 4], 0, "none"),
        (&[3, 257, 31], 17, "many"),
    ];
    let mut rows = Vec::new();
    for (x, count, note) in shapes {
        let mut new = x.to_vec();
        new[1] = count;
        let size = i32::try_from(x[1]).unwrap();
        let starts = Gen::i32s([x[0]], -3, size + 2);
        let inputs = [Gen::normal(x), Gen::normal(&new[..]), starts];
        let built = row("slice_update", inputs, |_, x| x[0].slice_update(x[1], x[2]));
        rows.push(built.note(note));
    }
    let inputs = [
        Gen::any_i32([2, 5, 3]),
        Gen::any_i32([2, 2, 3]),
        Gen::i32s([2], 0, 4),
    ];
    let built = row("slice_update", inputs, |_, x| x[0].slice_update(x[1], x[2]));
    rows.push(built.note("of i32").parity_only());
    // The place of a value that nothing else reads.
    let inputs = [
        Gen::normal([3, 8, 4]),
        Gen::normal([3, 2, 4]),
        Gen::i32s([3], -1, 8),
    ];
    let built = row("slice_update", inputs, |_, x| {
        let y = x[0].matmul(x[1].reshape([3, 4, 2])).cumsum(1);
        let z = x[1].matmul(x[0].transpose()).reshape([3, 8, 2]);
        let z = z.cumsum(1).slice_axis(1, 0, 3);
        y.slice_update(z, x[2]).tanh()
    });
    rows.push(built.note("in place").sums_over(64).ulps(16.0));
    rows
}

/// Positions of an axis, and elements along one.
fn along_axes() -> Vec<Row> {
    let mut rows = Vec::new();
    let shapes: [(&[usize], &[usize], isize); 6] = [
        (&[7, 4], &[5], 0),
        (&[4, 7], &[257], 1),
        (&[3, 7, 5], &[2, 3], -2),
        (&[2, 1, 3], &[4], 1),
        (&[3, 5], &[], -1),
        (&[3, 5], &[0], 1),
    ];
    for (dims, index, axis) in shapes {
        let shape = gradus_graph::Shape::try_new(dims).unwrap();
        let bound = i32::try_from(shape[shape.axis(axis).unwrap()]).unwrap();
        let inputs = [Gen::normal(dims), Gen::i32s(index, 0, bound)];
        let built = row("index_select", inputs, move |_, x| {
            x[0].index_select(x[1], axis)
        });
        rows.push(built.note(&format!("over {axis}")).sums_over(257));
    }
    let shapes: [(&[usize], &[usize], isize); 7] = [
        (&[7], &[257], 0),
        (&[3, 7], &[3, 5], 1),
        (&[7, 3], &[4, 2], 0),
        (&[3, 7, 5], &[2, 9, 5], -2),
        (&[1, 1], &[1, 1], 0),
        (&[3, 5], &[3, 0], 1),
        (&[5, 70_001], &[2, 70_001], 0),
    ];
    for (dims, index, axis) in shapes {
        let shape = gradus_graph::Shape::try_new(dims).unwrap();
        let bound = shape[shape.axis(axis).unwrap()];
        let inputs = [
            Gen::normal(dims),
            Gen::u32s(index, u32::try_from(bound).unwrap()),
        ];
        let built = row("take_along_axis", inputs, move |_, x| {
            x[0].take_along_axis(x[1], axis)
        });
        rows.push(built.note(&format!("over {axis}")).sums_over(257));
        let inputs = [
            Gen::normal(dims),
            Gen::u32s(index, u32::try_from(bound).unwrap()),
            Gen::normal(index),
        ];
        let built = row("scatter_add", inputs, move |_, x| {
            x[0].scatter_add(x[1], x[2], axis)
        });
        rows.push(built.note(&format!("over {axis}")).sums_over(257));
        let inputs = [
            Gen::normal(dims),
            Gen::u32s(index, u32::try_from(bound).unwrap()),
            Gen::normal(index),
        ];
        let built = row("scatter", inputs, move |_, x| {
            x[0].scatter(x[1], x[2], axis).tanh()
        });
        rows.push(built.note(&format!("over {axis}")).ulps(16.0));
    }
    let inputs = [Gen::normal([3, 4]), Gen::i32s([2, 5], 0, 12)];
    rows.push(row("take", inputs, |_, x| x[0].take(x[1])).sums_over(10));
    rows
}

/// Sums into places.
fn places() -> Vec<Row> {
    let count = [Gen::i32s([7], 0, 1), Gen::u32s([257], 7)];
    let number = [Gen::normal([3, 7]), Gen::i32s([3, 2], 0, 7)];
    let larger = [
        Gen::normal([3, 7]),
        Gen::i32s([2, 5], 0, 7),
        Gen::normal([4, 6]),
    ];
    vec![
        row("scatter_add", count, |_, x| x[0].scatter_add(x[1], 1, 0))
            .note("counts")
            .parity_only(),
        row("scatter_add", number, |_, x| x[0].scatter_add(x[1], 0.5, 1)).note("of a number"),
        row(
            "scatter",
            [Gen::normal([3, 7]), Gen::i32s([3, 2], 0, 7)],
            |_, x| x[0].scatter(x[1], 0.5, 1),
        )
        .note("of a number"),
        row(
            "scatter",
            [Gen::any_i32([5]), Gen::i32s([257], 0, 5)],
            |g, x| x[0].scatter(x[1], g.iota([257], 0), 0),
        )
        .note("the last counts")
        .parity_only(),
        row("scatter_add", larger, |_, x| {
            x[0].scatter_add(x[1], x[2], 1)
        })
        .note("of more than the index")
        .sums_over(5),
    ]
}

fn masks() -> Vec<Row> {
    let filled = [Gen::normal([3, 5]), Gen::bools([5])];
    let causal = [Gen::normal([2, 7, 7])];
    vec![
        row("masked_fill", filled, |_, x| x[0].masked_fill(x[1], -1.5)),
        row("masked_fill", causal, |g, x| {
            let future = g.full([7, 7], true).triu(1);
            x[0].masked_fill(future, -1e30).softmax()
        })
        .note("causal")
        .ulps(64.0),
        row("masked_fill", [Gen::normal(()), Gen::bools(())], |_, x| {
            x[0].masked_fill(x[1], x[0] * 2.0)
        }),
        row("one_hot", [Gen::i32s([2, 5], 0, 4)], |_, x| x[0].one_hot(4)).parity_only(),
        row("one_hot", [Gen::u32s((), 3)], |_, x| x[0].one_hot(3)).parity_only(),
        row("one_hot", [Gen::i32s([0], 0, 4)], |_, x| x[0].one_hot(4)).parity_only(),
    ]
}
