//! Views, alone and folded into each other.

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let x = || [Gen::normal([3, 4, 5])];
    vec![
        row("reshape", x(), |_, x| x[0].reshape([5, 12])),
        row("reshape", [Gen::normal([2, 0])], |_, x| {
            x[0].reshape([0, 7])
        })
        .note("empty"),
        row("reshape", x(), |_, x| {
            x[0].permute(&[2, 0, 1]).reshape([6, 10])
        })
        .note("of permute"),
        row("flatten", x(), |_, x| x[0].flatten(1)),
        row("expand", [Gen::normal([3, 1, 5])], |_, x| {
            x[0].expand([2, 3, 4, 5])
        })
        .sums_over(8),
        row("expand", [Gen::normal(())], |_, x| x[0].expand([257])).sums_over(257),
        row("expand", [Gen::normal([1, 3])], |_, x| x[0].expand([0, 3])).note("to empty"),
        row("permute", x(), |_, x| x[0].permute(&[1, 2, 0])),
        row("permute", [Gen::normal([2, 3, 4, 5])], |_, x| {
            x[0].permute(&[3, 1, 0, 2])
        }),
        row("permute", [Gen::normal([257, 31])], |_, x| x[0].transpose()).note("transpose"),
        row("permute", [Gen::normal([70_001, 2])], |_, x| {
            x[0].transpose()
        })
        .note("tall"),
        row("permute", [Gen::any_i32([7, 5])], |_, x| x[0].transpose())
            .note("i32")
            .parity_only(),
        row("permute", [Gen::bools([7, 5])], |_, x| x[0].transpose())
            .note("bool")
            .parity_only(),
        row("slice", x(), |_, x| {
            x[0].slice(&[0, 1, 0], &[3, 3, 5], &[1, 1, 1])
        }),
        row("slice", x(), |_, x| {
            x[0].slice(&[1, 0, 1], &[3, 4, 5], &[1, 3, 2])
        })
        .note("strided"),
        row("slice", [Gen::normal([257])], |_, x| {
            x[0].slice(&[3], &[250], &[7])
        })
        .note("strided"),
        row("slice", x(), |_, x| x[0].slice_axis(1, 2, 2)).note("to empty"),
        row("slice", x(), |_, x| {
            let y = x[0].transpose();
            y.slice(&[0, 1, 1], &[3, 5, 4], &[2, 1, 2])
        })
        .note("of permute"),
        row("pad", x(), |_, x| x[0].pad(&[1, 0, 2], &[0, 3, 1], 0.0)),
        row("pad", x(), |_, x| x[0].pad(&[0, 2, 0], &[1, 0, 0], -1.5)).note("not 0"),
        row("pad", [Gen::normal([0, 3])], |_, x| {
            x[0].pad(&[2, 0], &[1, 1], 7.0)
        })
        .note("empty"),
        row("pad", [Gen::any_i32([7])], |_, x| x[0].pad(&[2], &[3], -4))
            .note("i32")
            .parity_only(),
        row("pad", [Gen::bools([7])], |_, x| x[0].pad(&[2], &[3], true))
            .note("bool")
            .parity_only(),
        row("pad", x(), |_, x| {
            let y = x[0].pad(&[0, 1, 1], &[0, 1, 1], 0.5).slice_axis(2, 0, 6);
            y.pad(&[0, 0, 1], &[0, 0, 0], 2.0).slice_axis(1, 1, 6)
        })
        .note("and slices"),
        row(
            "concat",
            [Gen::normal([2, 3]), Gen::normal([5, 3])],
            |_, x| x[0].concat(&x[1..], 0),
        ),
        row(
            "concat",
            [
                Gen::normal([2, 3]),
                Gen::normal([2, 1]),
                Gen::normal([2, 4]),
            ],
            |_, x| x[0].concat(&x[1..], -1),
        ),
        row(
            "concat",
            [Gen::normal([2, 3]), Gen::normal([2, 0])],
            |_, x| x[0].concat(&x[1..], 1),
        )
        .note("empty"),
        row("concat", [Gen::normal([4, 3])], |_, x| {
            x[0].concat(&[x[0].square(), x[0]], 1)
        })
        .note("of itself"),
        row(
            "concat",
            [Gen::any_u32([3]), Gen::any_u32([257])],
            |_, x| x[0].concat(&x[1..], 0),
        )
        .note("u32")
        .parity_only(),
        // Four views that must not leave a copy behind, and one that reads what was written.
        row("pad", [Gen::normal([6, 8])], |_, x| {
            let y = x[0].reshape([2, 3, 2, 4]).permute(&[0, 2, 1, 3]);
            let y = y
                .slice(&[0, 0, 1, 0], &[2, 2, 3, 4], &[1, 1, 1, 2])
                .reshape([4, 4]);
            y.pad(&[1, 1], &[1, 1], 0.0) * y.pad(&[2, 0], &[0, 2], 1.0)
        })
        .note("of views"),
    ]
}
