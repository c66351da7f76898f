//! The register tile that suits a shape on a software device.
//!
//! Chosen by a model of what the vector unit executes. It was fitted to lavapipe 22.3 on one core
//! at 512³, where it orders the tiles as they were measured (GFLOP/s, NN): shared 32×4 29, shared
//! 16×8 25, shared 8×8 20; not shared 16×8 13.4, 8×8 13.4, 4×4 7.7, 1×8 3.8, 1×1 1.6.

use super::{Form, Register};

/// Vector instructions that a value costs which every lane loads for itself…
const LOAD: usize = 50;
/// …or that one lane loads and broadcasts,
const SHARED: usize = 8;
/// to multiply and add, with the accumulator on the stack,
const ADD: usize = 6;
/// and for the loop.
const LOOP: usize = 10;

/// Accumulators of a tile; with more the compiler's code gets slower again…
const ACCUMULATORS: usize = 128;
/// …and of a small product: its kernel is a tenth slower, but lavapipe compiles it in 0.08 s
/// instead of 0.2 s, which the difference takes hundreds of steps to make up for.
const FEW_ACCUMULATORS: usize = 64;
/// Multiplications and additions of a small product.
const SMALL: usize = 1 << 24;

/// Threads that the workgroups should occupy.
const THREADS: usize = 4;

/// The tile with the least estimated time.
pub(super) fn choose(form: Form, subgroup: Option<u32>) -> Register {
    let lanes = subgroup.unwrap_or(8);
    let sides = |n: usize| {
        let fixed = [1, 2, 4, 8, 12, 16, 24, 32].into_iter();
        // A side that takes in the whole matrix has no overhang.
        let whole = (n <= 16).then_some(n);
        fixed.filter(move |side| *side <= n).chain(whole)
    };
    let work = form.batch * form.m * form.n * form.k;
    let most = if work < SMALL {
        FEW_ACCUMULATORS
    } else {
        ACCUMULATORS
    };
    let mut best = None;
    for rows in sides(form.m) {
        for cols in sides(form.n).filter(|cols| rows * cols <= most) {
            for (across, down) in [(lanes, 1), (1, lanes)] {
                let Some(v) = register([rows, cols], [across, down], subgroup.is_some()) else {
                    continue;
                };
                let cost = cost(form, v);
                // Of equals the last: high tiles side by side were a little faster than wide ones.
                if best.is_none_or(|(least, _)| cost <= least) {
                    best = Some((cost, v));
                }
            }
        }
    }
    best.map_or(
        Register {
            rows: 1,
            cols: 1,
            across: lanes,
            down: 1,
            shared: false,
        },
        |(_, v)| v,
    )
}

fn register(tile: [usize; 2], lanes: [u32; 2], shared: bool) -> Option<Register> {
    let [rows, cols] = tile.map(u32::try_from);
    let [across, down] = lanes;
    Some(Register {
        rows: rows.ok()?,
        cols: cols.ok()?,
        across,
        down,
        shared,
    })
}

/// Instructions for one term of every sum, on one thread and on several.
fn cost(form: Form, v: Register) -> usize {
    let [rows, cols, across, down] = [v.rows, v.cols, v.across, v.down].map(|n| n as usize);
    let groups = form.batch * form.m.div_ceil(rows * down) * form.n.div_ceil(cols * across);
    let side = |lanes, common| lanes * if v.shared && common { SHARED } else { LOAD };
    let group = side(rows, down == 1) + side(cols, across == 1) + rows * cols * ADD + LOOP;
    (groups + groups.div_ceil(THREADS) * THREADS) * group
}
