//! Interpolation, borders, and channels that become pixels.

use gradus_graph::{Border, PerSide, UpsampleOptions};

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let to = |size: [usize; 2]| UpsampleOptions::size(size);
    let by = |factors: [f64; 2]| UpsampleOptions::scale(factors);
    for (shape, options, note) in [
        (&[2, 3, 4, 5][..], to([7, 11]), "larger"),
        (&[1, 2, 7, 5], to([3, 2]), "smaller"),
        (&[2, 1, 1, 5], to([4, 1]), "from and to 1"),
        (&[1, 1, 3, 4], to([3, 4]), "the same"),
        (&[2, 2, 3, 4], by([2.0, 3.0]), "whole factors"),
        (&[1, 2, 5, 3], by([1.5, 2.7]), "factors"),
        (&[1, 1, 3, 2], by([9.0, 1.0]), "many taps"),
        (&[2, 3, 7], UpsampleOptions::size(19), "1d"),
        (&[2, 3, 5], UpsampleOptions::scale(2.0), "1d doubled"),
        (&[0, 3, 4, 5], to([7, 11]), "no images"),
    ] {
        let methods = [
            ("nearest", options.clone()),
            ("linear", options.clone().linear()),
            ("aligned", options.align_corners()),
        ];
        for (method, options) in methods {
            let built = row("resample", [Gen::normal(shape)], move |_, x| {
                x[0].upsample(&options)
            });
            rows.push(built.note(&format!("{method} {note}")).sums_over(30));
        }
    }
    for border in [Border::Constant(0.5), Border::Reflect, Border::Replicate] {
        let cases: [(&[usize], PerSide); 5] = [
            (&[2, 3, 4, 5], 1.into()),
            (&[1, 2, 4, 5], [(3, 0), (1, 4)].into()),
            (&[2, 1, 3, 8], [2, 7].into()),
            (&[2, 3, 5], [(0, 4)].into()),
            (&[0, 3, 5], 2.into()),
        ];
        for (shape, sides) in cases {
            let note = format!("{border:?} {sides:?}");
            let built = row("resample", [Gen::normal(shape)], move |_, x| {
                x[0].pad_border(sides.clone(), border)
            });
            rows.push(built.note(&note).sums_over(64));
        }
    }
    // Between other ops, and in gradients of gradients.
    rows.push(
        row("resample", [Gen::normal([2, 2, 3, 4])], |_, x| {
            let wide = (x[0] * 2.0).upsample(&UpsampleOptions::scale(2.0).linear());
            wide.tanh().pad_border(2, Border::Reflect).square()
        })
        .note("between")
        .sums_over(30)
        .ulps(64.0),
    );
    rows.push(
        row("resample", [Gen::normal([1, 2, 3, 3])], |_, x| {
            let y = x[0].upsample(&UpsampleOptions::size([5, 4]).align_corners());
            let y = y.pad_border(1, Border::Replicate).tanh();
            gradus_graph::grad(y.square().sum_all(), &x[..1])[0]
        })
        .note("second order")
        .sums_over(64)
        .ulps(256.0),
    );
    for (shape, factor) in [(&[2, 12, 3, 5][..], 2), (&[1, 9, 2, 2], 3), (&[2, 6, 7], 3)] {
        rows.push(
            row("reshape", [Gen::normal(shape)], move |_, x| {
                (x[0] * 2.0).pixel_shuffle(factor)
            })
            .note("pixel shuffle"),
        );
    }
    for (shape, factor) in [(&[2, 3, 6, 10][..], 2), (&[2, 2, 9], 3)] {
        rows.push(
            row("reshape", [Gen::normal(shape)], move |_, x| {
                (x[0] * 2.0).pixel_unshuffle(factor)
            })
            .note("pixel unshuffle"),
        );
    }
    rows
}
