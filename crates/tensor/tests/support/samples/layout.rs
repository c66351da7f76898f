//! Where programs read and write.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::plan::Role;
use gradus_graph::{DType, Index};

use super::Sample;
use super::build::Build;
use crate::kernels::Memory;

pub(crate) fn many_rows(rows: usize) -> Sample {
    let mut b = Build::new(&[rows], &[3]);
    let x = b.floats(rows * 3);
    let at = b.flat();
    let x = b.load(x, &at);
    let max = b.reduce(Reduction::Max, x);
    let y = b.binary(Binary::Sub, x, max);
    b.store_all(y);
    b.done(format!("many rows {rows}"))
}

/// A permutation: loads that are not neighbours.
pub(crate) fn transposed() -> Sample {
    let mut b = Build::new(&[5, 8, 12], &[]);
    let x = b.floats(480);
    let axes = [1, 2, 0].map(Index::axis);
    let at = Index::linear(&axes, &[8, 12, 5]);
    let x = b.load(x, &at);
    let y = b.unary(Unary::Abs, x);
    b.store_all(y);
    b.done("transposed")
}

pub(crate) fn broadcast() -> Sample {
    let mut b = Build::new(&[6, 10, 8], &[]);
    let (row, col, one) = (b.floats(10), b.floats(8), b.floats(1));
    let (row, col) = (b.load(row, &Index::axis(1)), b.load(col, &Index::axis(2)));
    let one = b.load(one, &Index::constant(0));
    let y = b.binary(Binary::Mul, row, col);
    let y = b.binary(Binary::Max, y, one);
    b.store_all(y);
    b.done("broadcast")
}

/// A reshape that no axis follows: divisions and remainders, some with a moving quad.
pub(crate) fn split_axes() -> Sample {
    let mut b = Build::new(&[10, 24], &[]);
    let x = b.floats(240);
    let flat = b.flat();
    // [240] as [20, 12], transposed to [12, 20], read in row-major order.
    let parts = flat.unravel(&[12, 20], &[10, 24]);
    let at = Index::linear(&[parts[1].clone(), parts[0].clone()], &[20, 12]);
    let odd = b.load(x, &at);
    // [240] as [30, 8] with the rows in reverse: neighbours stay neighbours.
    let parts = flat.unravel(&[30, 8], &[10, 24]);
    let reversed = parts[0].scaled(-1).shifted(29);
    let at = Index::linear(&[reversed, parts[1].clone()], &[30, 8]);
    let even = b.load(x, &at);
    let y = b.binary(Binary::Sub, odd, even);
    b.store_all(y);
    b.done("split axes")
}

/// Operands that start within their binding, one of them not at a multiple of four.
pub(crate) fn based() -> Sample {
    let mut b = Build::new(&[4, 16], &[]);
    let (x, y) = (b.floats(64 + 8), b.floats(64 + 3));
    (b.memory[x].base, b.memory[y].base) = (8, 3);
    let at = b.flat();
    let (x, y) = (b.load(x, &at), b.load(y, &at));
    let z = b.binary(Binary::Mul, x, y);
    let out = b.output(64 + 4, DType::F32);
    b.memory[out].base = 4;
    b.store(out, &at, z);
    b.done("operands within bindings")
}

/// Row results written to the step's row of the ring.
pub(crate) fn ring() -> Sample {
    let mut b = Build::new(&[12], &[8]);
    let x = b.floats(96);
    let at = b.flat();
    let x = b.load(x, &at);
    let sum = b.reduce(Reduction::Sum, x);
    let out = b.output(48, DType::F32);
    b.memory[out].role = Role::Ring;
    b.memory[out].base = 2;
    b.store(out, &Index::axis(0), sum);
    b.done("ring")
}

/// Every float function, over several orders of magnitude.
pub(crate) fn functions() -> Sample {
    let mut values = vec![0.0f32, -0.0];
    for exponent in -6..2 {
        for digit in [1.0, 2.3, 4.9, 7.7] {
            let v = digit * 10f32.powi(exponent);
            values.extend([v, -v]);
        }
    }
    values.truncate(64);
    let n = values.len();
    let mut b = Build::new(&[n], &[1]);
    b.program.axes = vec![n];
    let x = b.floats(1);
    b.memory[x] = Memory::floats(&values);
    let x = b.load(x, &Index::axis(0));
    let mut all = Vec::new();
    for op in [Unary::Tanh, Unary::Sigmoid, Unary::Erf] {
        all.push(b.unary(op, x));
    }
    let limit = b.constant(3.0);
    let low = b.binary(Binary::Min, x, limit);
    all.push(b.unary(Unary::Expm1, low));
    let positive = b.unary(Unary::Abs, x);
    all.push(b.unary(Unary::Log1p, positive));
    for v in all {
        b.store_all(v);
    }
    b.done("functions")
}
