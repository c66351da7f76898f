//! Matrix products.

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    // No side divides a tile; one that is 1; a sum and a side that are long.
    let sizes = [
        (1, 1, 1),
        (7, 5, 3),
        (33, 17, 65),
        (1, 257, 31),
        (257, 1, 3),
        (31, 257, 1),
        (64, 100, 128),
        (130, 67, 129),
    ];
    for (m, k, n) in sizes {
        let terms = m.max(k).max(n);
        let a = || Gen::normal([m, k]);
        let b = || Gen::normal([k, n]);
        let (at, bt) = (|| Gen::normal([k, m]), || Gen::normal([n, k]));
        rows.push(
            row("matmul", [a(), b()], |_, x| x[0].matmul(x[1]))
                .note("nn")
                .sums_over(terms),
        );
        rows.push(
            row("matmul", [a(), bt()], |_, x| x[0].matmul(x[1].transpose()))
                .note("nt")
                .sums_over(terms),
        );
        rows.push(
            row("matmul", [at(), b()], |_, x| x[0].transpose().matmul(x[1]))
                .note("tn")
                .sums_over(terms),
        );
        rows.push(
            row("matmul", [at(), bt()], |_, x| {
                x[0].transpose().matmul(x[1].transpose())
            })
            .note("tt")
            .sums_over(terms),
        );
    }
    let plain: [(&[usize], &[usize], &str, usize); 12] = [
        (&[3, 70_001], &[70_001, 2], "long sum", 70_001),
        (&[70_001, 3], &[3, 2], "many rows", 70_001),
        (&[2, 3], &[3, 70_001], "many columns", 70_001),
        (&[4, 5, 7], &[4, 7, 3], "batched", 7),
        (&[2, 3, 5, 7], &[2, 3, 7, 3], "batched twice", 7),
        (&[2, 1, 5, 7], &[3, 7, 4], "broadcast batch", 42),
        (&[5, 9, 7], &[7, 3], "one matrix on the right", 45),
        (&[9, 7], &[5, 7, 3], "one matrix on the left", 45),
        (&[7], &[7, 3], "row", 7),
        (&[5, 7], &[7], "column", 7),
        (&[257], &[257], "dot", 257),
        (&[3, 5, 7], &[7], "column of a batch", 15),
    ];
    for (a, b, note, terms) in plain {
        let inputs = [Gen::normal(a), Gen::normal(b)];
        rows.push(
            row("matmul", inputs, |_, x| x[0].matmul(x[1]))
                .note(note)
                .sums_over(terms),
        );
    }
    let batched = [Gen::normal([3, 7, 5]), Gen::normal([3, 4, 7])];
    rows.push(
        row("matmul", batched, |_, x| {
            x[0].transpose().matmul(x[1].transpose())
        })
        .note("batched tt")
        .sums_over(7),
    );
    for (a, b, note) in [
        ([0, 3], [3, 2], "no rows"),
        ([2, 0], [0, 3], "no terms"),
        ([2, 3], [3, 0], "no columns"),
    ] {
        let inputs = [Gen::normal(a), Gen::normal(b)];
        rows.push(row("matmul", inputs, |_, x| x[0].matmul(x[1])).note(note));
    }
    // Epilogues: bias, activation, a second use of the product.
    let layer = || {
        [
            Gen::normal([33, 17]),
            Gen::normal([29, 17]),
            Gen::normal([29]),
        ]
    };
    rows.push(
        row("matmul", layer(), |_, x| {
            (x[0].matmul(x[1].transpose()) + x[2]).tanh()
        })
        .note("with bias and tanh")
        .sums_over(33)
        .ulps(16.0),
    );
    rows.push(
        row("matmul", layer(), |_, x| {
            let y = x[0].matmul(x[1].transpose()) + x[2];
            y * y.sigmoid()
        })
        .note("with bias and silu")
        .sums_over(33)
        .ulps(16.0),
    );
    rows.push(
        row(
            "matmul",
            [Gen::normal([17, 17]), Gen::normal([17, 17])],
            |_, x| {
                let y = x[0].matmul(x[1]);
                y.matmul(y.transpose()) + y
            },
        )
        .note("of itself")
        .sums_over(17 * 17),
    );
    rows.push(
        row(
            "matmul",
            [Gen::normal([6, 8, 5]), Gen::normal([6, 8, 5])],
            |_, x| {
                // Attention's heads: [B, T, H·D] split, products of permuted views, scaled.
                let q = x[0].reshape([2, 3, 8, 5]).permute(&[0, 2, 1, 3]);
                let k = x[1].reshape([2, 3, 8, 5]).permute(&[0, 2, 1, 3]);
                q.matmul(k.transpose()) * 0.447
            },
        )
        .note("of heads")
        .sums_over(5),
    );
    rows
}
