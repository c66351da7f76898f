//! Attention: packed and apart, grouped, masked, dropped; sizes around those of tiles.

use gradus_graph::{AttentionOptions, Graph, Var};

use super::{Gen, Row, row};

/// Of the largest value: an exponential and a division between two sums.
const WEIGHTS: f64 = 64.0;

/// Settings of a row, without a mask.
fn options<'g>(causal: bool, dropped: bool) -> AttentionOptions<'g> {
    let options = AttentionOptions::new().causal(causal);
    if dropped {
        options.dropout(7, 0.3)
    } else {
        options
    }
}

/// `[B, T, S]`, `[H, G]`, `[D, E]`
type Case = ([usize; 3], [usize; 2], [usize; 2]);

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let cases: [(Case, bool, bool); 13] = [
        (([1, 1, 1], [1, 1], [1, 1]), false, false),
        (([2, 5, 7], [3, 3], [4, 4]), false, false),
        (([2, 7, 7], [2, 1], [8, 8]), true, false),
        (([2, 33, 65], [4, 2], [12, 20]), false, false),
        (([1, 65, 33], [6, 2], [5, 3]), true, false),
        (([3, 64, 64], [2, 2], [32, 32]), true, false),
        (([1, 40, 40], [1, 1], [128, 128]), true, false),
        (([2, 31, 37], [2, 1], [72, 66]), false, false),
        (([2, 16, 13], [2, 2], [16, 16]), false, true),
        (([2, 35, 35], [4, 2], [6, 6]), true, true),
        (([1, 3, 257], [1, 1], [7, 9]), false, false),
        // Too wide for a kernel: made of products.
        (([2, 9, 11], [4, 2], [130, 129]), true, true),
        (([2, 4, 0], [2, 1], [3, 3]), false, false),
    ];
    for (([b, t, s], [h, g], [d, e]), causal, dropped) in cases {
        let inputs = [
            Gen::normal([b, t, h, d]),
            Gen::normal([b, s, g, d]),
            Gen::normal([b, s, g, e]),
        ];
        let note = format!(
            "{}{}",
            if causal { "causal" } else { "" },
            if dropped { " dropped" } else { "" }
        );
        let built = row("attention", inputs, move |_, x| {
            x[0].attention(x[1], x[2], &options(causal, dropped))
        });
        rows.push(finish(built, [t, s, d]).note(note.trim()));
    }
    packed(&mut rows);
    masked(&mut rows);
    rows
}

fn finish(row: Row, sizes: [usize; 3]) -> Row {
    row.sums_over(sizes.into_iter().max().unwrap_or(1))
        .ulps(WEIGHTS)
}

/// Queries, keys and values as heads of one tensor, or of two, or turned.
fn packed(rows: &mut Vec<Row>) {
    for (b, t, h, g, d, causal) in [
        (2, 5, 2, 2, 4, true),
        (2, 34, 4, 2, 8, true),
        (3, 17, 3, 1, 5, false),
        (1, 70, 2, 2, 16, true),
    ] {
        let inputs = [Gen::normal([b, t, h + 2 * g, d])];
        let built = row("attention", inputs, move |_, x| {
            x[0].self_attention(h, g, &options(causal, false))
        });
        rows.push(finish(built, [t, t, d]).note("packed"));
        let inputs = [Gen::normal([b, t + 3, h, d]), Gen::normal([b, t, 2 * g, d])];
        let built = row("attention", inputs, move |_, x| {
            x[0].cross_attention(x[1], &options(false, false))
        });
        rows.push(finish(built, [t, t, d]).note("keys with values"));
        // Heads before positions, as other libraries have them: a view, if nothing is in between.
        let inputs = [Gen::normal([b, h, t, d]), Gen::normal([b, 2 * g, t, d])];
        let built = row("attention", inputs, move |_, x| {
            let (k, v) = (turn(x[1], 0, g), turn(x[1], g, 2 * g));
            x[0].permute(&[0, 2, 1, 3])
                .attention(k, v, &options(causal, false).scale(0.5))
        });
        rows.push(finish(built, [t, t, d]).note("turned"));
    }
}

fn masked(rows: &mut Vec<Row>) {
    let (b, t, s, h, d) = (2, 9, 37, 2, 8);
    let shapes: [[usize; 4]; 5] = [
        [1, 1, 1, s],
        [b, 1, 1, s],
        [1, 1, t, s],
        [b, h, t, s],
        [b, h, t, 1],
    ];
    for shape in shapes {
        for causal in [false, true] {
            let inputs = || {
                [
                    Gen::normal([b, t, h, d]),
                    Gen::normal([b, s, h, d]),
                    Gen::normal([b, s, h, d]),
                    Gen::normal(shape),
                ]
            };
            // Some queries are left without any key.
            let built = row("attention", inputs(), move |_, x| {
                let options = options(causal, false).mask(x[3].gt(0.3));
                x[0].attention(x[1], x[2], &options)
            });
            rows.push(finish(built, [t, s, d]).note(&format!("bool mask {causal}")));
            let built = row("attention", inputs(), move |_, x| {
                let options = options(causal, causal).mask(x[3]);
                x[0].attention(x[1], x[2], &options)
            });
            let built = finish(built, [t, s, d]).note(&format!("added mask {causal}"));
            // What is added to all scores of a query changes nothing: its gradient is noise.
            rows.push(if shape[3] == 1 {
                built.parity_only()
            } else {
                built
            });
        }
    }
    let inputs = [Gen::normal([b, t, 3 * h, d]), Gen::normal([b, s])];
    let built = row("attention", inputs, move |graph: &Graph, x: &[Var<'_>]| {
        let excluded = x[1].slice_axis(1, 0, t).gt(0.0);
        let added = excluded.select(graph.scalar(f32::NEG_INFINITY), 0.5);
        let options = options(true, false)
            .mask(added.reshape([b, 1, 1, t]))
            .mask(x[1].slice_axis(1, 3, 3 + t).lt(1.0).reshape([b, 1, 1, t]));
        x[0].self_attention(h, h, &options)
    });
    rows.push(
        finish(built, [t, t, d])
            .note("infinite mask and another")
            .parity_only(),
    );
}

/// Some heads of `[B, heads, T, D]` as `[B, T, heads, D]`.
fn turn(x: Var<'_>, first: usize, last: usize) -> Var<'_> {
    x.slice_axis(1, first, last).permute(&[0, 2, 1, 3])
}
