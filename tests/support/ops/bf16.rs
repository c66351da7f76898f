//! Rounding to bfloat16, and what is stored so between kernels: odd and even sizes, read and
//! written by every kind of kernel.

use gradus_graph::{AttentionOptions, ConvOptions, Graph, Padding, Var};

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("bf16", [Gen::normal([257])], |_, x| x[0].bf16()),
        row("bf16", [Gen::normal(())], |_, x| x[0].bf16()).note("scalar"),
        row("bf16", [Gen::normal([0, 3])], |_, x| x[0].bf16()).note("empty"),
        row("bf16", [ties()], |_, x| x[0].bf16()).note("halves to even"),
    ];
    products(&mut rows);
    programs(&mut rows);
    others(&mut rows);
    // Differences see the steps that the gradient passes over.
    rows.into_iter().map(Row::parity_only).collect()
}

/// Halves, their neighbours, and what overflows.
fn ties() -> Gen {
    let one = |bits: u32| f32::from_bits(bits);
    let values = [
        one(0x3f80_8000),
        one(0x3f81_8000),
        one(0x3f80_7fff),
        one(0x3f80_8001),
        one(0xbf81_8000),
        one(0x3fff_8000),
        one(0x3fff_ffff),
        f32::MAX,
        -f32::MAX,
        0.0,
        -0.0,
        1e-30,
    ];
    Gen::floats([values.len()], &values)
}

/// Whole numbers: their sums are the same in any order, and many lie between two bfloat16.
fn whole(dims: &[usize]) -> Gen {
    Gen::uniform(dims, -48.0, 48.0)
}

fn rounded<'g>(x: Var<'g>) -> Var<'g> {
    x.round()
}

/// Stored by a product, read by products: rows of odd length, of four, and a batch.
fn products(rows: &mut Vec<Row>) {
    for (m, k, n, p) in [(1, 1, 1, 1), (5, 3, 7, 2), (64, 32, 48, 20)] {
        let inputs = || {
            [
                whole(&[m, k]),
                whole(&[k, n]),
                whole(&[n, p]),
                whole(&[p, m]),
            ]
        };
        let terms = n.max(m);
        rows.push(
            row("bf16", inputs(), |_, x| {
                let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
                h.matmul(rounded(x[2]))
            })
            .note("left of a product")
            .sums_over(terms),
        );
        rows.push(
            row("bf16", inputs(), |_, x| {
                let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
                rounded(x[3]).matmul(h)
            })
            .note("right of a product")
            .sums_over(terms),
        );
        rows.push(
            row("bf16", inputs(), |_, x| {
                let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
                h.transpose().matmul(h)
            })
            .note("turned, by itself")
            .sums_over(terms),
        );
    }
    for (side, channels) in [(5, 3), (8, 8), (7, 16)] {
        let inputs = [
            whole(&[2, 3, side, side]),
            whole(&[channels, 3, 3, 3]),
            whole(&[5, channels, 3, 3]),
        ];
        rows.push(
            row("bf16", inputs, |_, x| {
                let same = ConvOptions::new().padding(Padding::Same);
                let h = rounded(x[0]).conv(rounded(x[1]), &same).bf16();
                let sum = h.sum_keep(&[0, 2, 3]);
                h.conv(rounded(x[2]), &same) + sum.sum_all()
            })
            .note("between convolutions")
            .sums_over(9 * channels * side),
        );
    }
}

/// Stored and read by programs.
fn programs(rows: &mut Vec<Row>) {
    for (r, c) in [(1, 1), (3, 5), (16, 64), (33, 9)] {
        let inputs = || [whole(&[r, c]), whole(&[c, c])];
        rows.push(
            row("bf16", inputs(), |_, x| {
                let h = (rounded(x[0]) * 37.0).bf16();
                let means = h.mean_keep(&[0]);
                (h - means).matmul(rounded(x[1])) + h
            })
            .note("beside its means")
            .sums_over(r.max(c)),
        );
        rows.push(
            row("bf16", inputs(), |_, x| {
                let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
                let again = (h * 3.0).bf16();
                let turned = again.transpose().matmul(rounded(x[0]));
                turned + again.max_keep(&[0, 1])
            })
            .note("in its own place")
            .sums_over(r.max(c)),
        );
        rows.push(
            row("bf16", inputs(), |_, x| {
                let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
                h.flip(&[1]).cumsum(0) + h
            })
            .note("scanned")
            .sums_over(r.max(c)),
        );
    }
}

/// Read by kernels that stand alone.
fn others(rows: &mut Vec<Row>) {
    for (t, d) in [(5, 3), (33, 8)] {
        let inputs = [
            whole(&[2, t, 2 * d]),
            Gen::uniform([2 * d, 6 * d], -0.01, 0.01),
        ];
        rows.push(
            row("bf16", inputs, move |_: &Graph, x| {
                let h = (rounded(x[0]).matmul((x[1] * 256.0).round()) * (1.0 / 4096.0)).bf16();
                let part = |i: usize| {
                    let part = h.narrow(2, 2 * d * i, 2 * d);
                    part.reshape([2, t, 2, d])
                };
                let options = AttentionOptions::new().causal(true);
                part(0).attention(part(1), part(2), &options)
            })
            .note("attention")
            .sums_over(t)
            .ulps(64.0),
        );
    }
    let inputs = || [whole(&[7, 5]), whole(&[5, 3]), Gen::i32s([11], 0, 7)];
    rows.push(
        row("bf16", inputs(), |_, x| {
            let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
            h.gather(x[2]) + h.sum_all()
        })
        .note("a table")
        .sums_over(21),
    );
    rows.push(
        row("bf16", inputs(), |_, x| {
            let h = rounded(x[0]).matmul(rounded(x[1])).bf16();
            h.argsort(1).cast(gradus_graph::DType::F32) + h
        })
        .note("sorted")
        .sums_over(5),
    );
}
