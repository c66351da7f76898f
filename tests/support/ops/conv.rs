//! Convolutions, their transposes and the gradients of their gradients.

use gradus_graph::{ConvOptions, Padding, vjp};

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let plain = ConvOptions::new;
    let mut rows: Vec<Row> = [
        // Nothing divides anything; then each setting alone, then all.
        (&[2, 3, 7, 6][..], &[5, 3, 3, 2][..], plain(), ""),
        (&[2, 3, 7, 6], &[5, 3, 1, 1], plain(), "1×1"),
        (&[2, 1, 5, 5], &[1, 1, 1, 1], plain(), "1×1 of one channel"),
        (&[2, 3, 5, 4], &[4, 3, 5, 4], plain(), "kernel = input"),
        (
            &[1, 2, 9, 9],
            &[3, 2, 3, 3],
            plain().padding(Padding::Same),
            "same, batch 1",
        ),
        (
            &[2, 2, 5, 6],
            &[3, 2, 2, 4],
            plain().padding(Padding::Same),
            "same, even kernel",
        ),
        (
            &[2, 3, 8, 9],
            &[4, 3, 2, 2],
            plain().stride(3),
            "stride > kernel",
        ),
        (
            &[2, 3, 5, 5],
            &[4, 3, 3, 3],
            plain().padding(2),
            "padding > kernel / 2",
        ),
        (
            &[2, 2, 4, 4],
            &[2, 2, 3, 3],
            plain().padding(4),
            "padding > kernel",
        ),
        (
            &[2, 3, 9, 8],
            &[4, 3, 3, 3],
            plain().dilation(2),
            "dilation 2",
        ),
        (&[2, 4, 7, 7], &[6, 2, 3, 3], plain().groups(2), "groups 2"),
        (&[2, 5, 7, 7], &[5, 1, 3, 3], plain().groups(5), "depthwise"),
        (
            &[2, 5, 7, 7],
            &[10, 1, 1, 1],
            plain().groups(5).padding(1),
            "depthwise 1×1",
        ),
        (
            &[2, 4, 11, 10],
            &[6, 2, 3, 2],
            plain()
                .stride([2, 3])
                .padding([1, 2])
                .dilation([3, 1])
                .groups(2),
            "everything",
        ),
        (
            &[3, 4, 12],
            &[6, 2, 5],
            plain().stride(2).padding(3).dilation(2).groups(2),
            "1d",
        ),
        (
            &[1, 1, 257],
            &[1, 1, 31],
            plain().padding(Padding::Same),
            "1d filter",
        ),
        (&[70_001, 1, 2], &[2, 1, 2], plain(), "many images"),
        (&[0, 3, 7, 6], &[5, 3, 3, 2], plain(), "no images"),
        (&[2, 3, 7, 6], &[0, 3, 3, 2], plain(), "no outputs"),
    ]
    .into_iter()
    .map(|(x, w, options, note)| {
        // The weight's gradient sums over images and positions.
        let terms = x.iter().product::<usize>().max(w.iter().product());
        let inputs = [Gen::normal(x), Gen::normal(w)];
        row("conv", inputs, move |_, x| x[0].conv(x[1], &options))
            .note(note)
            .sums_over(terms)
    })
    .collect();
    rows.extend(
        [
            (&[2, 4, 5, 4][..], &[4, 3, 3, 3][..], plain(), ""),
            (
                &[2, 4, 5, 4],
                &[4, 3, 2, 2],
                plain().stride(2),
                "stride = kernel",
            ),
            (
                &[2, 4, 5, 4],
                &[4, 3, 2, 2],
                plain().stride(3),
                "stride > kernel",
            ),
            (
                &[1, 4, 5, 4],
                &[4, 3, 3, 3],
                plain().stride(2).padding(1).output_padding(1),
                "doubles",
            ),
            (
                &[2, 4, 4, 3],
                &[4, 3, 3, 2],
                plain()
                    .stride([2, 3])
                    .padding([1, 0])
                    .dilation([2, 1])
                    .output_padding([1, 2])
                    .groups(2),
                "everything",
            ),
            (&[2, 3, 9], &[3, 2, 4], plain().stride(2).padding(1), "1d"),
            // Of enough channels for tiles: each phase is a product of its own.
            (
                &[2, 5, 5, 4],
                &[5, 6, 3, 3],
                plain().stride(2).padding(1).output_padding(1),
                "phases",
            ),
            (
                &[1, 8, 3, 4],
                &[8, 4, 2, 3],
                plain().stride([3, 4]),
                "phases without taps",
            ),
            (
                &[2, 8, 4, 3],
                &[8, 5, 4, 2],
                plain()
                    .stride([4, 3])
                    .padding([2, 1])
                    .dilation([6, 2])
                    .groups(2),
                "phases and dilation",
            ),
            (&[2, 4, 9], &[4, 7, 5], plain().stride(3), "phases, 1d"),
        ]
        .into_iter()
        .map(|(x, w, options, note)| {
            let inputs = [Gen::normal(x), Gen::normal(w)];
            row("conv_input", inputs, move |_, x| {
                x[0].conv_transpose(x[1], &options)
            })
            .note(note)
            .sums_over(x.iter().product::<usize>().max(w.iter().product()))
        }),
    );
    let settings = || ConvOptions::new().stride(2).padding(1).groups(2);
    let inputs = || [Gen::normal([2, 4, 6, 5]), Gen::normal([6, 2, 3, 3])];
    // Of a square, so that the gradients depend on both operands: what a gradient penalty needs.
    rows.push(
        row("conv_weight", inputs(), move |_, x| {
            let y = x[0].conv(x[1], &settings()).square();
            vjp(y, y, &[x[1]])[0].unwrap_or(y)
        })
        .note("gradient of the weight")
        .sums_over(1000),
    );
    rows.push(
        row("conv_input", inputs(), move |_, x| {
            let y = x[0].conv(x[1], &settings()).square();
            vjp(y, y, &[x[0]])[0].unwrap_or(y)
        })
        .note("gradient of the input")
        .sums_over(1000),
    );
    let layer = || {
        [
            Gen::normal([2, 3, 6, 5]),
            Gen::normal([4, 3, 3, 3]),
            Gen::normal([4]),
        ]
    };
    rows.push(
        row("conv", layer(), |_, x| {
            let same = ConvOptions::new().padding(Padding::Same);
            let y = x[0].tanh().conv(x[1], &same) + x[2].reshape([4, 1, 1]);
            y.tanh()
        })
        .note("between tanh, with bias")
        .sums_over(120)
        .ulps(16.0),
    );
    // Gradients of weight and bias that a GPU adds up in parts, of one group and of two.
    for (groups, [x, w]) in [
        (1, [[8, 1, 32, 33], [5, 1, 3, 3]]),
        (2, [[9, 4, 31, 31], [8, 2, 2, 1]]),
    ] {
        let inputs = [Gen::normal(x), Gen::normal(w), Gen::normal([w[0]])];
        rows.push(
            row("conv", inputs, move |_, v| {
                let options = ConvOptions::new().padding(Padding::Same).groups(groups);
                v[0].conv(v[1], &options) + v[2].reshape([w[0], 1, 1])
            })
            .note("in parts")
            .sums_over(10_000),
        );
    }
    rows.push(
        row(
            "conv",
            [Gen::normal([2, 3, 6, 5]), Gen::normal([3, 3, 3, 3])],
            |_, x| {
                let same = ConvOptions::new().padding(Padding::Same);
                let h = x[0].conv(x[1], &same).relu();
                h.conv(x[1], &same) + h
            },
        )
        .note("residual, tied")
        .sums_over(1000),
    );
    rows
}
