//! Views by name: splitting, joining, turning, repeating.

use gradus_graph::Var;

use super::{Gen, Row, row};

type View = for<'g> fn(Var<'g>) -> Var<'g>;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        row(
            "stack",
            [Gen::normal([2, 3]), Gen::normal([2, 3])],
            |_, x| x[0].stack(&x[1..], 1) * x[0].stack(&[x[0]], -2),
        ),
        row("stack", [Gen::normal(()), Gen::normal(())], |_, x| {
            x[0].stack(&[x[1], x[0]], -1)
        }),
        row("split", [Gen::normal([2, 7, 3])], |_, x| {
            let parts = x[0].split(&[2, 0, 5], -2);
            parts[2].slice_axis(1, 1, 3) * parts[0] + parts[1].sum(&[1]).unsqueeze(1)
        }),
        row("chunk", [Gen::normal([13, 3])], |_, x| {
            let parts = x[0].chunk(6, 0);
            assert_eq!((parts.len(), parts[4].dim(0)), (5, 1));
            parts[0] * parts[3] - parts[4]
        }),
        row("unbind", [Gen::normal([3, 5])], |_, x| {
            let parts = x[0].unbind(-2);
            parts[0] * parts[1] - parts[2]
        }),
    ];
    // Each with the shape it is seen from.
    let views: &[(&str, &[usize], View)] = &[
        ("flip", &[3, 4, 5], |x| x.flip(&[-1, 0])),
        ("flip", &[257], |x| x.flip(&[0])),
        ("flip", &[0, 3], |x| x.flip(&[0, 1])),
        ("flip", &[], |x| x.flip(&[])),
        ("flip", &[9, 8], |x| {
            x.flip(&[1]).transpose().flip(&[0]) + x.transpose()
        }),
        ("slice_step", &[11, 3], |x| x.slice_step(0, 1..10, 2)),
        ("slice_step", &[11, 3], |x| x.slice_step(0, 1..=9, -4)),
        ("slice_step", &[257], |x| x.slice_step(-1, .., -3)),
        ("slice_step", &[5, 7], |x| x.slice_step(1, 3.., 5)),
        ("slice_step", &[5], |x| x.slice_step(0, 3..3, -2)),
        ("narrow", &[3, 7], |x| x.narrow(-1, 2, 4)),
        ("narrow", &[3, 7], |x| x.narrow(0, 3, 0)),
        ("movedim", &[2, 3, 4, 5], |x| x.movedim(&[0, -1], &[-1, 1])),
        ("swap_axes", &[2, 3, 4], |x| x.swap_axes(0, -1)),
        ("squeeze", &[1, 3, 1], |x| x.squeeze(&[-1, 0]).unsqueeze(-1)),
        ("roll", &[5, 7], |x| x.roll(&[2, -3], &[0, 1])),
        ("roll", &[257], |x| x.roll(&[-600], &[0])),
        ("roll", &[0], |x| x.roll(&[3], &[0])),
        ("repeat", &[2, 3], |x| x.repeat(&[4, 1, 2])),
        ("repeat", &[], |x| x.repeat(&[3])),
        ("repeat", &[2, 3], |x| x.repeat(&[0, 2])),
        ("tile", &[2, 3, 5], |x| x.tile(&[3])),
        ("repeat_interleave", &[2, 3], |x| {
            x.repeat_interleave(&[3], 0)
        }),
        ("repeat_interleave", &[2, 3], |x| {
            x.repeat_interleave(&[2, 0, 3], -1)
        }),
        ("diagonal", &[5, 7], |x| x.diagonal(0, 0, 1)),
        ("diagonal", &[5, 7, 3], |x| x.diagonal(-2, 1, 0)),
        ("diagonal", &[4, 2, 4], |x| x.diagonal(3, 0, -1)),
        ("diagonal", &[3, 3], |x| x.diagonal(5, 0, 1)),
        ("tril", &[2, 5, 7], |x| x.tril(0)),
        ("tril", &[5, 7], |x| x.tril(-2)),
        ("triu", &[7, 5], |x| x.triu(1)),
        ("triu", &[1, 1], |x| x.triu(1)),
        ("concat", &[3, 4], |x| x.concat(&[x.flip(&[1])], -1)),
    ];
    for (number, &(op, dims, view)) in views.iter().enumerate() {
        let built = row(op, [Gen::normal(dims)], move |_, x| view(x[0]));
        rows.push(built.note(&format!("view {number}")).sums_over(8));
    }
    let of_bool: View = |x| x.flip(&[0]).tril(0).roll(&[1], &[1]);
    rows.push(
        row("flip", [Gen::bools([5, 4])], move |_, x| of_bool(x[0]))
            .note("of bool")
            .parity_only(),
    );
    rows
}
