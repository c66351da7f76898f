//! Reductions of rows and columns.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::{DType, Expr, Index};

use super::Sample;
use super::build::Build;
use crate::kernels::Memory;

pub(crate) fn softmax_in_place(rows: usize, cols: usize) -> Sample {
    let mut b = Build::new(&[rows], &[cols]);
    let x = b.floats(rows * cols);
    let at = b.flat();
    let value = b.load(x, &at);
    let peak = b.reduce(Reduction::Max, value);
    let centered = b.binary(Binary::Sub, value, peak);
    let e = b.unary(Unary::Exp, centered);
    let sum = b.reduce(Reduction::Sum, e);
    let y = b.binary(Binary::Div, e, sum);
    b.store(x, &at, y);
    b.store_rows(sum);
    b.done(format!("softmax in place {rows}x{cols}"))
}

pub(crate) fn layer_norm(rows: usize, cols: usize) -> Sample {
    let mut b = Build::new(&[rows], &[cols]);
    let (x, gamma) = (b.floats(rows * cols), b.floats(cols));
    let at = b.flat();
    let x = b.load(x, &at);
    let sum = b.reduce(Reduction::Sum, x);
    let n = b.constant(1.0 / cols as f64);
    let mean = b.binary(Binary::Mul, sum, n);
    let centered = b.binary(Binary::Sub, x, mean);
    let squares = b.unary(Unary::Square, centered);
    let sum = b.reduce(Reduction::Sum, squares);
    let variance = b.binary(Binary::Mul, sum, n);
    let eps = b.constant(1e-5);
    let variance = b.binary(Binary::Add, variance, eps);
    let scale = b.unary(Unary::Rsqrt, variance);
    let y = b.binary(Binary::Mul, centered, scale);
    let gamma = b.load(gamma, &Index::axis(1));
    let y = b.binary(Binary::Mul, y, gamma);
    b.store_all(y);
    b.store_rows(mean);
    b.store_rows(scale);
    b.done(format!("layer norm {rows}x{cols}"))
}

/// The loss of each row, and the gradient over the logits.
pub(crate) fn cross_entropy(rows: usize, cols: usize) -> Sample {
    let mut b = Build::new(&[rows], &[cols]);
    let logits = b.floats(rows * cols);
    let labels = b.ints(rows, cols as u32 + 1, DType::U32);
    let at = b.flat();
    let label = b.load(labels, &Index::axis(0));
    let label = b.push(
        Expr::CheckIndex {
            bound: cols as u32,
            site: 0,
            x: label,
        },
        DType::U32,
    );
    let label = b.cast(label, DType::I32);
    let x = b.load(logits, &at);
    let peak = b.reduce(Reduction::Max, x);
    let centered = b.binary(Binary::Sub, x, peak);
    let e = b.unary(Unary::Exp, centered);
    let sum = b.reduce(Reduction::Sum, e);
    let position = b.push(Expr::Index(Index::axis(1)), DType::I32);
    let hot = b.binary(Binary::Eq, position, label);
    let zero = b.constant(0.0);
    let picked = b.select(hot, centered, zero);
    let picked = b.reduce(Reduction::Sum, picked);
    let log = b.unary(Unary::Log, sum);
    let loss = b.binary(Binary::Sub, log, picked);
    b.store_rows(loss);
    let p = b.binary(Binary::Div, e, sum);
    let hot = b.cast(hot, DType::F32);
    let grad = b.binary(Binary::Sub, p, hot);
    let scale = b.constant(1.0 / rows as f64);
    let grad = b.binary(Binary::Mul, grad, scale);
    b.store(logits, &at, grad);
    b.memory.push(Memory::errors(1));
    let mut sample = b.done(format!("cross entropy {rows}x{cols}"));
    // The logarithm's error is absolute, 2⁻²¹, near 1: the bound that WGSL gives it.
    sample.tolerance = 16.0;
    sample
}

/// `[K, N] -> [N]`, kept axis contiguous.
pub(crate) fn column_sum(rows: usize, cols: usize) -> Sample {
    let mut b = Build::new(&[cols], &[rows]);
    let x = b.floats(rows * cols);
    let at = Index::axis(1).scaled(cols as i64).plus(&Index::axis(0));
    let x = b.load(x, &at);
    let sum = b.reduce(Reduction::Sum, x);
    let low = b.reduce(Reduction::Min, x);
    let y = b.binary(Binary::Add, sum, low);
    b.store_rows(y);
    b.done(format!("column sum {rows}x{cols}"))
}

pub(crate) fn arg_max(rows: usize, cols: usize) -> Sample {
    let mut b = Build::new(&[rows], &[cols]);
    // Few distinct values: ties go to the first.
    let x = b.ints(rows * cols, 5, DType::I32);
    let at = b.flat();
    let x = b.load(x, &at);
    let f = b.cast(x, DType::F32);
    for op in [Reduction::Max, Reduction::Min] {
        for x in [x, f] {
            let y = b.push(Expr::ArgReduce(op, x), DType::I32);
            b.store_rows(y);
        }
    }
    b.done(format!("arg max {rows}x{cols}"))
}

pub(crate) fn sum_all(n: usize) -> Sample {
    let mut b = Build::new(&[], &[n]);
    let x = b.floats(n);
    let x = b.load(x, &Index::axis(0));
    let square = b.unary(Unary::Square, x);
    let sum = b.reduce(Reduction::Sum, square);
    b.store_rows(sum);
    b.done(format!("sum of all {n}"))
}
