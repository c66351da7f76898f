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
    rows
}
