//! Programs without reductions.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::{DType, Expr, Index, step_row};

use super::Sample;
use super::build::Build;
use crate::kernels::Memory;

pub(crate) fn adam(n: usize) -> Sample {
    let mut b = Build::new(&[n], &[]);
    let at = Index::axis(0);
    let operands: Vec<_> = (0..4).map(|_| b.floats(n)).collect();
    for word in &mut b.memory[3].words {
        *word &= 0x7fff_ffff; // second moments are not negative
    }
    let loads: Vec<_> = operands.iter().map(|o| b.load(*o, &at)).collect();
    let [p, g, m, v] = loads[..] else {
        unreachable!()
    };
    let rate = b.push(Expr::StepWord(step_row::OPTIMIZER), DType::F32);
    let [b1, b2, eps] = [0.9, 0.999, 1e-8].map(|c| b.constant(c));
    let [c1, c2] = [0.1, 0.001].map(|c| b.constant(c));
    let (mb, gb) = (b.binary(Binary::Mul, m, b1), b.binary(Binary::Mul, g, c1));
    let m = b.binary(Binary::Add, mb, gb);
    let gg = b.unary(Unary::Square, g);
    let (vb, gb) = (b.binary(Binary::Mul, v, b2), b.binary(Binary::Mul, gg, c2));
    let v = b.binary(Binary::Add, vb, gb);
    let root = b.unary(Unary::Sqrt, v);
    let root = b.binary(Binary::Add, root, eps);
    let step = b.binary(Binary::Div, m, root);
    let step = b.binary(Binary::Mul, step, rate);
    let p = b.binary(Binary::Sub, p, step);
    for (operand, value) in [(0, p), (2, m), (3, v)] {
        b.store(operand, &at, value);
    }
    b.done(format!("adam {n}"))
}

/// Two arrays joined along the last axis, then a row of zeros: guarded loads.
pub(crate) fn concat() -> Sample {
    let mut b = Build::new(&[6, 12], &[]);
    let (x, y) = (b.floats(6 * 8), b.floats(6 * 4));
    let (row, col) = (Index::axis(0), Index::axis(1));
    let range = |low, high| Expr::InRange {
        index: Index::axis(1),
        low,
        high,
    };
    let first = b.push(range(0, 8), DType::Bool);
    let second = b.push(range(8, 12), DType::Bool);
    let x = b.push(
        Expr::Load {
            operand: x,
            index: row.scaled(8).plus(&col),
            guard: Some(first),
        },
        DType::F32,
    );
    let y = b.push(
        Expr::Load {
            operand: y,
            index: row.scaled(4).plus(&col).shifted(-8),
            guard: Some(second),
        },
        DType::F32,
    );
    let sum = b.binary(Binary::Add, x, y);
    b.store_all(sum);
    b.done("concat")
}

/// A sliding window with padding on both sides: reductions over guarded loads.
pub(crate) fn padded_window() -> Sample {
    let mut b = Build::new(&[2, 9], &[3]);
    let x = b.floats(18);
    let position = Index::axis(1).plus(&Index::axis(2)).shifted(-1);
    let inside = b.push(
        Expr::InRange {
            index: position.clone(),
            low: 0,
            high: 9,
        },
        DType::Bool,
    );
    let x = b.push(
        Expr::Load {
            operand: x,
            index: Index::axis(0).scaled(9).plus(&position),
            guard: Some(inside),
        },
        DType::F32,
    );
    let sum = b.reduce(Reduction::Sum, x);
    let max = b.reduce(Reduction::Max, x);
    let y = b.binary(Binary::Mul, sum, max);
    b.store_rows(y);
    b.done("padded window")
}

/// Rows of a table; some indices are bad.
pub(crate) fn gather() -> Sample {
    let mut b = Build::new(&[21, 8], &[]);
    let table = b.floats(10 * 8);
    let index = b.ints(21, 14, DType::I32);
    b.memory[index].words[3] = -2i32 as u32;
    let i = b.load(index, &Index::axis(0));
    let i = b.push(
        Expr::CheckIndex {
            bound: 10,
            site: 1,
            x: i,
        },
        DType::I32,
    );
    let y = b.push(
        Expr::LoadRow {
            operand: table,
            row: i,
            stride: 8,
            index: Index::axis(1),
            guard: None,
        },
        DType::F32,
    );
    b.store_all(y);
    b.memory.push(Memory::errors(3));
    b.done("gather")
}

pub(crate) fn dropout(n: usize) -> Sample {
    let mut b = Build::new(&[3, n], &[]);
    let x = b.floats(3 * n);
    let at = b.flat();
    let x = b.load(x, &at);
    let bits = b.push(
        Expr::Random {
            stream: 0xfeed_0000_beef_1234,
            index: at,
        },
        DType::U32,
    );
    let eight = b.constant(8u32);
    let bits = b.binary(Binary::Shr, bits, eight);
    let bits = b.cast(bits, DType::F32);
    let threshold = b.constant(0.25 * f64::from(1u32 << 24));
    let keep = b.binary(Binary::Ge, bits, threshold);
    let scale = b.constant(1.0 / 0.75);
    let scaled = b.binary(Binary::Mul, x, scale);
    let zero = b.constant(0.0);
    let y = b.select(keep, scaled, zero);
    b.store_all(y);
    b.done(format!("dropout {n}"))
}

/// Wrapping arithmetic, division by zero, shifts beyond the width: one op for each output.
pub(crate) fn integers(dtype: DType, binary: &[Binary], unary: &[Unary]) -> Sample {
    let mut b = Build::new(&[64], &[]);
    let at = Index::axis(0);
    let (x, y) = (b.ints(64, u32::MAX, dtype), b.ints(64, 40, dtype));
    b.memory[x].words[..4].copy_from_slice(&[i32::MIN as u32; 4]);
    b.memory[y].words[..4].copy_from_slice(&[0, u32::MAX, 1, 33]);
    let (x, y) = (b.load(x, &at), b.load(y, &at));
    for op in binary {
        let z = b.binary(*op, x, y);
        b.store_all(z);
    }
    for op in unary {
        let z = b.unary(*op, x);
        b.store_all(z);
    }
    b.done(format!("{dtype} {binary:?} {unary:?}"))
}

/// Floats to integers at the edges, and NaN.
pub(crate) fn conversions() -> Sample {
    let edges = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.9,
        -1.9,
        3e9,
        -3e9,
        5e9,
        1e20,
        -1e20,
        2147483520.0,
        255.0,
        1e-30,
    ];
    let mut values: Vec<f32> = edges.iter().map(|v| *v as f32).collect();
    values.extend([f32::NAN, 4_294_967_040.0]);
    let mut b = Build::new(&[values.len()], &[]);
    let x = b.floats(1);
    b.memory[x] = Memory::floats(&values);
    let x = b.load(x, &Index::axis(0));
    for dtype in [DType::I32, DType::U32] {
        let y = b.cast(x, dtype);
        b.store_all(y);
    }
    let nan = b.unary(Unary::IsNan, x);
    b.store_all(nan);
    let truth = b.cast(x, DType::Bool);
    b.store_all(truth);
    b.done("conversions")
}

pub(crate) fn total() -> Sample {
    let mut b = Build::new(&[36], &[]);
    let (x, parts) = (b.floats(36), b.floats(50));
    let x = b.load(x, &Index::axis(0));
    let total = b.push(
        Expr::Total {
            operand: parts,
            count: 50,
        },
        DType::F32,
    );
    let y = b.binary(Binary::Mul, x, total);
    b.store_all(y);
    let mut sample = b.done("total");
    sample.tolerance = 40.0;
    sample
}

pub(crate) fn bools() -> Sample {
    let mut b = Build::new(&[40], &[]);
    let at = Index::axis(0);
    let (x, y) = (b.ints(40, 2, DType::Bool), b.ints(40, 2, DType::Bool));
    let (x, y) = (b.load(x, &at), b.load(y, &at));
    for op in [Binary::And, Binary::Or, Binary::Xor, Binary::Eq] {
        let z = b.binary(op, x, y);
        b.store_all(z);
    }
    let not = b.unary(Unary::Not, x);
    let number = b.cast(not, DType::F32);
    b.store_all(number);
    b.done("bools")
}
