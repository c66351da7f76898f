//! Pools, and the windows they are made of.

use gradus_graph::PoolOptions;
use gradus_graph::ops::FirstMax;

use super::{Gen, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let pool = |size: usize| PoolOptions::new(size);
    let mut rows = Vec::new();
    for (shape, options, note) in [
        (&[2, 3, 8, 6][..], pool(2), "2×2"),
        (&[2, 3, 9, 8], pool(3).stride(2).padding(1), "overlapping"),
        (
            &[2, 3, 9, 8],
            pool(3).stride(2).padding(1).ceil_mode(),
            "overlapping, ceil",
        ),
        (
            &[2, 3, 9, 8],
            pool(3).stride(2).padding(1).ceil_mode().exclude_padding(),
            "ceil, inside",
        ),
        (
            &[2, 3, 9, 8],
            pool(2).stride(3).ceil_mode(),
            "stride > window, ceil",
        ),
        (&[1, 2, 9, 8], pool(3).stride(1).dilation(2), "dilation 2"),
        (
            &[2, 2, 5, 7],
            PoolOptions::new([3, 2]).stride([2, 1]).padding([1, 0]),
            "oblong",
        ),
        (&[2, 3, 4, 5], PoolOptions::new([4, 5]), "window = input"),
        (&[2, 3, 5, 5], pool(1), "1×1"),
        (&[2, 3, 11], pool(4).stride(3).padding(2), "1d"),
        (&[0, 3, 5, 5], pool(2), "no images"),
    ] {
        let terms = 12;
        let (max, avg) = (options.clone(), options);
        rows.push(
            row("slide", [Gen::distinct(shape, 0.1)], move |_, x| {
                x[0].max_pool(&max)
            })
            .note(&format!("max {note}"))
            .sums_over(terms),
        );
        rows.push(
            row("slide", [Gen::normal(shape)], move |_, x| {
                x[0].avg_pool(&avg)
            })
            .note(&format!("mean {note}"))
            .sums_over(terms),
        );
    }
    for (shape, size) in [
        ([2, 3, 9, 8], [3, 2]),
        ([2, 3, 9, 8], [4, 5]),
        ([1, 2, 3, 2], [5, 5]),
    ] {
        rows.push(
            row("matmul", [Gen::normal(shape)], move |_, x| {
                x[0].adaptive_avg_pool(size)
            })
            .note(&format!("adaptive mean to {size:?}"))
            .sums_over(72),
        );
    }
    rows.push(
        row("matmul", [Gen::normal([2, 3, 7])], |_, x| {
            x[0].adaptive_avg_pool(3)
        })
        .note("adaptive mean 1d")
        .sums_over(7),
    );
    rows.push(
        row("sum", [Gen::normal([2, 3, 9, 8])], |_, x| {
            x[0].global_avg_pool()
        })
        .note("global mean")
        .sums_over(72),
    );
    rows.push(row("first_max", [Gen::distinct([7, 33], 0.1)], |_, x| {
        x[0].composite(FirstMax, &[])
    }));
    // Half of all elements are equal, and all in a window may be: no gradient to difference.
    rows.push(
        row(
            "slide",
            [Gen::floats([2, 2, 7, 7], &[1.0, -1.0, 1.0, 1.0, -1.0])],
            |_, x| {
                let y = x[0].max_pool(&PoolOptions::new(3).stride(2).padding(1));
                gradus_graph::vjp(y, y, &[x[0]])[0].unwrap_or(y)
            },
        )
        .note("max of ties")
        .parity_only(),
    );
    rows
}
