//! Normalizations: whole gradients, shapes that are summed by samples first and shapes that are
//! not, and values far from 0.

use gradus_graph::ops::{Normalize, Sharing};
use gradus_graph::{ConvOptions, Shape, grad};

use super::{Gen, Row, row};

/// Of the largest value: a root and a division after two sums.
const NORM: f64 = 64.0;

fn normalize(sharing: Sharing) -> Normalize {
    Normalize { sharing, eps: 1e-5 }
}

pub(super) fn rows() -> Vec<Row> {
    use Sharing::{Batch, Groups};
    let mut rows = Vec::new();
    let cases: [(&'static str, Sharing, &[usize]); 17] = [
        // By samples: few channels of many elements.
        ("batch_norm", Batch, &[5, 3, 41, 41]),
        ("batch_norm", Batch, &[2, 1, 4099]),
        ("batch_norm", Batch, &[7, 3]),
        ("batch_norm", Batch, &[257, 1]),
        ("batch_norm", Batch, &[2, 5]),
        ("batch_norm", Batch, &[5, 3, 2]),
        ("batch_norm", Batch, &[1, 3, 17]),
        ("batch_norm", Batch, &[3, 2, 31]),
        ("batch_norm", Batch, &[4, 3, 5, 7]),
        ("batch_norm", Batch, &[3, 1, 2, 3]),
        ("group_norm", Groups(2), &[3, 6]),
        ("group_norm", Groups(1), &[2, 5, 3]),
        ("group_norm", Groups(3), &[1, 6, 5, 7]),
        ("group_norm", Groups(5), &[2, 5, 3, 3]),
        ("group_norm", Groups(2), &[5, 4, 31]),
        ("batch_norm", Batch, &[0, 3, 4]),
        ("group_norm", Groups(2), &[0, 4, 4]),
    ];
    for (op, sharing, shape) in cases {
        let count = normalize(sharing).count(&Shape::try_new(shape).unwrap());
        let channels = shape[1];
        let affine = || {
            [
                Gen::normal(shape),
                Gen::normal([channels]),
                Gen::normal([channels]),
            ]
        };
        let built = row(op, affine(), move |_, x| {
            x[0].composite(normalize(sharing), &x[1..])
        });
        rows.push(built.sums_over(count).ulps(NORM));
        let built = row(op, [Gen::normal(shape)], move |_, x| {
            x[0].composite(normalize(sharing), &[])
        });
        rows.push(built.note("plain").sums_over(count).ulps(NORM));
    }
    // The deviation is 1/1000 of the mean: what is centered has lost 10 bits already.
    for (op, sharing, shape) in [
        ("batch_norm", Batch, [8, 4, 6, 6]),
        ("batch_norm", Batch, [9, 2, 32, 32]),
        ("group_norm", Groups(2), [8, 4, 6, 6]),
    ] {
        let input = [Gen::uniform(shape, 999.0, 1001.0)];
        let built = row(op, input, move |_, x| {
            x[0].composite(normalize(sharing), &[])
        });
        rows.push(
            built
                .note("far from 0")
                .sums_over(288)
                .ulps(2000.0)
                .parity_only(),
        );
    }
    for (op, sharing, shape) in [
        ("batch_norm", Batch, &[4, 1, 2053][..]),
        ("batch_norm", Batch, &[4, 2, 17]),
        ("batch_norm", Batch, &[5, 3]),
        ("group_norm", Groups(2), &[2, 4, 3]),
    ] {
        let built = row(op, [Gen::normal(shape)], move |_, x| {
            let y = x[0].composite(normalize(sharing), &[]);
            grad((y.sin() * x[0]).square().sum_all(), &x[..1])[0]
        });
        rows.push(built.note("second order").sums_over(64).ulps(4096.0));
    }
    rows.push(
        row("batch_norm", [Gen::normal([6, 4, 40, 40])], |_, x| {
            let [mean, variance] = normalize(Batch).moments(x[0] * 3.0 + 1.0);
            mean * variance
        })
        .note("moments")
        .sums_over(9600)
        .ulps(NORM),
    );
    rows.extend(blocks());
    rows
}

/// Between a convolution and an activation, as networks have them.
fn blocks() -> Vec<Row> {
    let rows = [Sharing::Batch, Sharing::Groups(2)].map(|sharing| {
        let inputs = [
            Gen::normal([3, 2, 6, 6]),
            Gen::normal([4, 2, 3, 3]),
            Gen::normal([4]),
            Gen::normal([4]),
        ];
        row("conv", inputs, move |_, x| {
            let h = x[0].conv(x[1], &ConvOptions::new());
            // Smooth, so that no difference crosses a kink.
            h.composite(normalize(sharing), &x[2..]).tanh()
        })
        .note(&format!("normalized, {sharing:?}"))
        .sums_over(75)
        .ulps(NORM)
    });
    rows.into()
}
