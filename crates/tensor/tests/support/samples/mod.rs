//! Programs of every kind, with data: what the planner makes of common layers, and awkward shapes.

#![allow(dead_code, reason = "each user takes what it needs")]

mod build;
mod layout;
mod pointwise;
mod rows;

use gradus_graph::ops::{Binary, Unary};
use gradus_graph::{DType, Program};

use crate::kernels::Memory;

pub(crate) use self::layout::{
    based, broadcast, functions, many_rows, ring, split_axes, transposed,
};
pub(crate) use self::pointwise::{
    adam, bools, concat, conversions, dropout, gather, integers, padded_window, total,
};
pub(crate) use self::rows::{
    arg_max, column_sum, cross_entropy, layer_norm, softmax_in_place, sum_all,
};

/// A program with its memory.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) memory: Vec<Memory>,
    pub(crate) step_row: [u32; 64],
    /// In units of ε √terms max|result|.
    pub(crate) tolerance: f64,
}

/// Everything that is tested.
pub(crate) fn all() -> Vec<Sample> {
    let mut all = vec![
        adam(1024),
        adam(257),
        concat(),
        padded_window(),
        gather(),
        dropout(48),
    ];
    all.extend([dropout(45), conversions(), total(), bools()]);
    for dtype in [DType::I32, DType::U32] {
        use Binary::{Add, And, Div, Max, Min, Mul, Or, Rem, Shl, Shr, Sub, Xor};
        for binary in [
            [Add, Sub, Mul, Div],
            [Rem, Max, Min, And],
            [Or, Xor, Shl, Shr],
        ] {
            all.push(integers(dtype, &binary, &[]));
        }
        let unary = [
            Unary::Neg,
            Unary::Sign,
            Unary::Square,
            Unary::Not,
            Unary::Abs,
        ];
        all.push(integers(dtype, &[], &unary));
    }
    for [rows, cols] in [
        [1, 1],
        [7, 10],
        [5, 12],
        [33, 257],
        [3, 260],
        [20, 16],
        [2, 5000],
    ] {
        all.extend([
            softmax_in_place(rows, cols),
            layer_norm(rows, cols),
            cross_entropy(rows, cols),
            column_sum(rows, cols),
            arg_max(rows, cols),
        ]);
    }
    all.extend([
        sum_all(1 << 20),
        sum_all(300_001),
        many_rows(70_001),
        transposed(),
        broadcast(),
    ]);
    all.extend([split_axes(), based(), ring(), functions()]);
    all
}
