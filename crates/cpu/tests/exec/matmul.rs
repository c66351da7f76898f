//! Products with epilogues, at awkward sizes.

use gradus_graph::ops::{Binary, Unary};
use gradus_graph::plan::{KernelKind, MatMulKernel, Matrix};
use gradus_graph::{DType, Expr, Index, Program};

use super::a_row;
use super::bench::{Memory, run};
use super::build::{Build, at, noise};

/// What the epilogue does beside storing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Epilogue {
    Plain,
    /// Adds a bias for each column, then relu.
    BiasRelu,
    /// Keeps what lies where another matrix is positive, over that matrix.
    MaskInPlace,
    /// Stores the product and its square, transposed.
    Two,
}

fn epilogue(kind: Epilogue, batch: usize, m: usize, n: usize) -> Program {
    let (mn, n) = ((m * n) as i64, n as i64);
    let here = at(0, &[mn, n, 1]);
    let mut b = Build::new(&[batch, m, n as usize], 3);
    let acc = b.push(Expr::Accumulator, DType::F32);
    match kind {
        Epilogue::Plain => b.store(2, here, acc),
        Epilogue::BiasRelu => {
            let bias = b.load(3, Index::axis(2));
            let y = b.binary(Binary::Add, acc, bias);
            let y = b.unary(Unary::Relu, y);
            b.store(2, here, y);
        }
        Epilogue::MaskInPlace => {
            let y = b.load(2, here.clone());
            let zero = b.constant(0f32);
            let on = b.binary(Binary::Gt, y, zero);
            let dx = b.select(on, acc, zero);
            b.store(2, here, dx);
        }
        Epilogue::Two => {
            let y = b.unary(Unary::Square, acc);
            b.store(2, here, acc);
            b.store(3, at(0, &[mn, 1, m as i64]), y);
        }
    }
    b.program
}

fn check([batch, m, n, k]: [usize; 4], [ta, tb]: [bool; 2], kind: Epilogue, row_sum: bool) {
    let pad = 3; // stored rows are longer than the matrix
    let matrix = |operand: usize, transposed: bool, rows: usize, cols: usize| {
        let (rows, cols) = if transposed {
            (cols, rows)
        } else {
            (rows, cols)
        };
        let row_stride = cols + pad;
        Matrix {
            operand,
            transposed,
            offset: 2,
            row_stride,
            batch_stride: rows * row_stride,
        }
    };
    let a = matrix(0, ta, m, k);
    let b = matrix(1, tb, k, n);
    let len = |x: &Matrix| x.offset + batch * x.batch_stride + 4;
    let (av, bv) = (noise(len(&a), 1), noise(len(&b), 2));
    let old = noise(batch * m * n, 3);
    let out = match kind {
        Epilogue::MaskInPlace => Memory::floats(&old).in_place(),
        _ => Memory::out(batch * m * n, DType::F32),
    };
    let bias = noise(n.max(1), 4);
    let extra = match kind {
        Epilogue::Two => Memory::out(batch * m * n, DType::F32),
        _ => Memory::floats(&bias),
    };
    let memory = [
        Memory::floats(&av),
        Memory::floats(&bv),
        out,
        extra,
        Memory::out(m, DType::F32),
    ];
    let kernel = MatMulKernel {
        batch,
        m,
        n,
        k,
        a: a.clone(),
        b: b.clone(),
        row_sum: row_sum.then_some(4),
        epilogue: epilogue(kind, batch, m, n),
    };
    let outcome = run(KernelKind::MatMul(kernel), &memory, &a_row());
    let element = |x: &Matrix, v: &[f32], batch: usize, i: usize, j: usize| {
        let (i, j) = if x.transposed { (j, i) } else { (i, j) };
        f64::from(v[x.offset + batch * x.batch_stride + i * x.row_stride + j])
    };
    let bound =
        4.0 * f64::from(f32::EPSILON) * (k as f64).sqrt().max(1.0) * (k as f64).sqrt().max(2.0);
    let close = |found: f32, truth: f64, what: &str| {
        let error = (f64::from(found) - truth).abs();
        assert!(
            error <= bound,
            "{what}: {found} is not {truth} ({batch} {m} {n} {k} {ta} {tb} {kind:?})"
        );
    };
    let (y, other) = (outcome.floats(2), outcome.floats(3));
    for z in 0..batch {
        for i in 0..m {
            for (j, bias) in bias.iter().enumerate().take(n) {
                let terms = (0..k).map(|l| element(&a, &av, z, i, l) * element(&b, &bv, z, l, j));
                let acc: f64 = terms.sum();
                let at = (z * m + i) * n + j;
                let truth = match kind {
                    Epilogue::Plain | Epilogue::Two => acc,
                    Epilogue::BiasRelu => (acc + f64::from(*bias)).max(0.0),
                    Epilogue::MaskInPlace if old[at] > 0.0 => acc,
                    Epilogue::MaskInPlace => 0.0,
                };
                close(y[at], truth, "product");
                if kind == Epilogue::Two {
                    let square = other[z * m * n + j * m + i];
                    assert_eq!(square, y[at] * y[at]);
                }
            }
        }
    }
    if row_sum {
        for (i, found) in outcome.floats(4).iter().enumerate() {
            close(
                *found,
                (0..k).map(|l| element(&a, &av, 0, i, l)).sum(),
                "row sum",
            );
        }
    }
}

const KINDS: [Epilogue; 4] = [
    Epilogue::Plain,
    Epilogue::BiasRelu,
    Epilogue::MaskInPlace,
    Epilogue::Two,
];

#[test]
fn awkward_sizes_in_all_transposes() {
    for sizes in [
        [1, 1, 1],
        [1, 7, 257],
        [7, 1, 33],
        [64, 10, 65],
        [33, 65, 1],
        [5, 6, 2],
        [257, 7, 100],
    ] {
        let [m, n, k] = sizes;
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            for kind in KINDS {
                check([1, m, n, k], transposed, kind, true);
            }
        }
    }
}

#[test]
fn nothing_to_sum_gives_zeros() {
    for kind in KINDS {
        check([1, 7, 5, 0], [false, true], kind, true);
    }
}

#[test]
fn batches() {
    for kind in KINDS {
        check([3, 17, 9, 20], [false, false], kind, false);
        check([4, 1, 9, 20], [true, true], kind, false);
        check([2, 9, 1, 5], [false, true], kind, false);
    }
}

#[test]
fn several_panels() {
    check([1, 300, 1000, 9], [false, true], Epilogue::BiasRelu, false);
    check(
        [1, 300, 1000, 9],
        [true, false],
        Epilogue::MaskInPlace,
        true,
    );
    check([2, 150, 1000, 5], [false, false], Epilogue::Two, false);
}

#[test]
fn long_sums_on_several_threads() {
    check([1, 64, 128, 3000], [false, true], Epilogue::BiasRelu, false);
    check([1, 128, 257, 1000], [true, false], Epilogue::Plain, true);
}

#[test]
fn panels_that_threads_share_out() {
    let sizes = [1, 100, 645, 256];
    check(sizes, [false, true], Epilogue::BiasRelu, false);
    check(sizes, [false, false], Epilogue::MaskInPlace, false);
    check(sizes, [true, true], Epilogue::Plain, true);
    check(sizes, [false, true], Epilogue::Two, false);
    check([2, 50, 640, 256], [true, false], Epilogue::BiasRelu, false);
}

/// Rows that all lie in a few sets of the cache.
#[test]
fn rows_of_a_power_of_two() {
    check([1, 9, 37, 253], [false, true], Epilogue::BiasRelu, false);
}
