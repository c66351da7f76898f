//! Layer and RMS normalization: alone, and with residuals and dense layers around.

use gradus_graph::grad;
use gradus_graph::ops::LayerNorm;

use super::{Gen, Row, row};

/// Of the largest value: a root and a division after two sums.
const NORM: f64 = 64.0;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let shapes: [(&[usize], usize); 9] = [
        (&[3, 7], 1),
        (&[2, 5, 7], 2),
        (&[1, 1031], 1),
        (&[257, 64], 1),
        (&[66, 1], 1),
        (&[7], 1),
        (&[2, 3, 130], 1),
        (&[3, 4, 2, 5], 3),
        (&[0, 5], 1),
    ];
    for (shape, axes) in shapes {
        let row_shape = &shape[shape.len() - axes..];
        let terms = terms_of(row_shape).max(shape[0]);
        for centered in [true, false] {
            let op = LayerNorm {
                axes,
                eps: 1e-5,
                centered,
            };
            let name = if centered { "layer_norm" } else { "rms_norm" };
            let built = |affine: usize| {
                let mut inputs = vec![Gen::normal(shape)];
                inputs.extend((0..affine).map(|_| Gen::normal(row_shape)));
                let built = row(name, inputs, move |_, x| x[0].composite(op, &x[1..]));
                built.sums_over(terms).ulps(NORM)
            };
            // The root of a single square is its magnitude: a gradient of almost 0.
            let finish = |row: Row| match centered || terms_of(row_shape) > 1 {
                true => row,
                false => row.parity_only(),
            };
            rows.extend([built(2), built(1), built(0)].map(finish));
        }
    }
    let op = |centered| LayerNorm {
        axes: 1,
        eps: 1e-5,
        centered,
    };
    // The deviation is 1/1000 of the mean: what is centered has lost 10 bits already.
    let far = row(
        "layer_norm",
        [Gen::uniform([9, 130], 999.0, 1001.0)],
        move |_, x| x[0].composite(op(true), &[]),
    );
    rows.push(
        far.note("far from 0")
            .sums_over(130)
            .ulps(2000.0)
            .parity_only(),
    );
    let many = row("layer_norm", [Gen::normal([70_001, 3])], move |_, x| {
        x[0].composite(op(true), &[])
    });
    rows.push(many.note("many").ulps(NORM).parity_only());
    for centered in [true, false] {
        let second = row("layer_norm", [Gen::normal([5, 6])], move |_, x| {
            let y = x[0].composite(op(centered), &[]);
            grad((y.sin() * x[0]).square().sum_all(), &x[..1])[0]
        });
        rows.push(second.note("second order").sums_over(64).ulps(4096.0));
        let inputs = [
            Gen::normal([2, 9, 16]),
            Gen::normal([16]),
            Gen::normal([24, 16]),
            Gen::normal([16, 24]),
        ];
        let block = row("layer_norm", inputs, move |_, x| {
            let h = x[0].composite(op(centered), &x[1..2]);
            x[0] + h.matmul(x[2].transpose()).tanh().matmul(x[3].transpose())
        });
        rows.push(block.note("residual").sums_over(64).ulps(NORM));
    }
    rows
}

/// Elements that are normalized together.
fn terms_of(row: &[usize]) -> usize {
    row.iter().product()
}
