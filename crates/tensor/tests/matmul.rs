//! Every matmul variant against a plain sum in f64, on whatever device there is.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/kernels.rs"]
mod kernels;
mod support;

use anyhow::{Context, ensure};
use gradus_graph::philox::Rng;
use gradus_graph::plan::{KernelKind, MatMulKernel, Matrix};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Store, Target};
use gradus_tensor::Device;
use gradus_tensor::kernels::{shader_as, variants};
use kernels::{Memory, Ready};

/// What to multiply: layout, batch, M, N, K, and which operand is broadcast over the batch.
#[derive(Clone, Copy, Debug)]
struct Case {
    layout: &'static str,
    batch: usize,
    size: [usize; 3],
    broadcast: [bool; 2],
    /// Elements before the first matrix and between rows: 0 keeps everything aligned.
    slack: usize,
}

const LAYOUTS: [&str; 4] = ["nn", "nt", "tn", "tt"];

fn cases() -> Vec<Case> {
    let sizes = [
        [1, 1, 1],
        [7, 17, 1],
        [1, 257, 17],
        [257, 1, 7],
        [17, 7, 257],
        [64, 128, 96],
        [68, 132, 30],
        [10, 64, 64],
        [64, 10, 128],
        [20, 12, 0],
    ];
    let plain = |layout, batch, size| Case {
        layout,
        batch,
        size,
        broadcast: [false; 2],
        slack: 0,
    };
    let mut cases = Vec::new();
    for (i, size) in sizes.into_iter().enumerate() {
        // Every size in two layouts, every layout with and without alignment.
        for layout in [LAYOUTS[i % 4], LAYOUTS[(i + 1) % 4]] {
            for slack in [0, 3] {
                cases.push(Case {
                    slack,
                    ..plain(layout, 1, size)
                });
            }
        }
    }
    for (i, layout) in LAYOUTS.into_iter().enumerate() {
        cases.push(Case {
            broadcast: [i == 1, i == 2],
            ..plain(layout, 3, [17, 36, 20])
        });
        cases.push(plain(layout, 1, [36, 40, 24]));
    }
    cases.extend([
        plain("nt", 1, [257, 1000, 257]),
        plain("nn", 1, [70_000, 3, 5]),
        plain("tn", 70_000, [2, 2, 3]),
        plain("nn", 1, [5, 9, 70_000]),
        plain("tn", 1, [16, 8, 300_000]),
    ]);
    cases
}

/// An operand of `rows` × `cols` in memory and its values.
fn operand(case: &Case, which: usize, rng: &mut Rng) -> (Matrix, Vec<f32>) {
    let [m, n, k] = case.size;
    let transposed = case.layout.as_bytes()[which] == b't';
    let (mut rows, mut cols) = if which == 0 { (m, k) } else { (k, n) };
    if transposed {
        std::mem::swap(&mut rows, &mut cols);
    }
    let row_stride = cols + case.slack;
    let size = rows * row_stride;
    let copies = if case.broadcast[which] { 1 } else { case.batch };
    let matrix = Matrix {
        operand: which,
        transposed,
        offset: case.slack,
        row_stride,
        batch_stride: if case.broadcast[which] { 0 } else { size },
    };
    let values = (0..case.slack + copies * size)
        .map(|_| (rng.uniform() * 2.0 - 1.0) as f32)
        .collect();
    (matrix, values)
}

fn get(matrix: &Matrix, values: &[f32], at: [usize; 3]) -> f64 {
    let [batch, row, col] = at;
    let (line, place) = if matrix.transposed {
        (col, row)
    } else {
        (row, col)
    };
    let at = matrix.offset + batch * matrix.batch_stride + line * matrix.row_stride + place;
    f64::from(values[at])
}

/// The product and the row sums of A.
fn reference(kernel: &MatMulKernel, a: &[f32], b: &[f32]) -> [Vec<f64>; 2] {
    let (mut product, mut sums) = (Vec::new(), Vec::new());
    for batch in 0..kernel.batch {
        let rhs: Vec<Vec<f64>> = (0..kernel.n)
            .map(|col| {
                let rows = 0..kernel.k;
                rows.map(|k| get(&kernel.b, b, [batch, k, col])).collect()
            })
            .collect();
        for row in 0..kernel.m {
            let lhs: Vec<_> = (0..kernel.k)
                .map(|k| get(&kernel.a, a, [batch, row, k]))
                .collect();
            sums.push(lhs.iter().sum());
            for col in &rhs {
                product.push(lhs.iter().zip(col).map(|(x, y)| x * y).sum());
            }
        }
    }
    [product, sums]
}

fn compare(what: &str, got: &[u32], want: &[f64], terms: usize) -> anyhow::Result<()> {
    let largest = want.iter().fold(0f64, |m, v| m.max(v.abs()));
    let tolerance =
        4.0 * f64::from(f32::EPSILON) * (terms.max(1) as f64).sqrt() * largest.max(1e-30);
    for (i, want) in want.iter().enumerate() {
        let got = f32::from_bits(got[i]);
        let error = (f64::from(got) - want).abs();
        ensure!(
            error <= tolerance,
            "{what}[{i}] is {got}, should be {want} ± {tolerance:e}"
        );
    }
    Ok(())
}

/// Stores the accumulator, rows contiguous.
fn plain_epilogue(batch: usize, m: usize, n: usize) -> Program {
    let axes: Vec<_> = (0..3).map(Index::axis).collect();
    Program {
        axes: vec![batch, m, n],
        kept: 3,
        exprs: vec![Expr::Accumulator],
        dtypes: vec![DType::F32],
        stores: vec![Store {
            operand: 2,
            index: Index::linear(&axes, &[batch, m, n]),
            value: ExprId(0),
        }],
    }
}

fn check(device: &Device, case: &Case) -> anyhow::Result<()> {
    let [m, n, k] = case.size;
    let mut rng = Rng::new(7, (m * 31 + n * 7 + k) as u64);
    let (a, a_values) = operand(case, 0, &mut rng);
    let (b, b_values) = operand(case, 1, &mut rng);
    let mut kernel = MatMulKernel {
        batch: case.batch,
        m,
        n,
        k,
        a,
        b,
        row_sum: (case.batch == 1).then_some(3),
        epilogue: plain_epilogue(case.batch, m, n),
    };
    let [product, sums] = reference(&kernel, &a_values, &b_values);
    let mut memory = vec![
        Memory::floats(&a_values),
        Memory::floats(&b_values),
        Memory::output(DType::F32, case.slack + case.batch * m * n),
        Memory::output(DType::F32, case.batch * m),
    ];
    memory[2].base = case.slack;
    let (_, all) = kernels::plan(
        Target::lavapipe(),
        KernelKind::MatMul(kernel.clone()),
        &memory,
    );
    for (i, variant) in variants(&all).into_iter().enumerate() {
        // Every other variant without the row sum, and without the checks that might hide an
        // index out of bounds.
        let odd = i % 2 == 1;
        if odd {
            kernel.row_sum = None;
        }
        let kind = KernelKind::MatMul(kernel.clone());
        let (plan, one) = kernels::plan(Target::lavapipe(), kind, &memory);
        let shader = shader_as(&plan, &one, variant)?;
        let ready = Ready::new(device, &shader, &memory, &[0; 64], odd)?;
        let mut before = None;
        for _ in 0..2 {
            ready.run(1)?;
            let c = ready.read(2)?;
            let failed = || format!("{variant:?}");
            compare("c", &c[case.slack..], &product, k).with_context(failed)?;
            if kernel.row_sum.is_some() {
                compare("sum", &ready.read(3)?, &sums, k).with_context(failed)?;
            }
            ensure!(
                before.is_none_or(|b| b == c),
                "{variant:?}: the second run gives other bits"
            );
            before = Some(c);
        }
    }
    Ok(())
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let gpu = support::Gpu::from_env();
    let trials = cases().into_iter().map(|case| {
        let [m, n, k] = case.size;
        let name = format!(
            "{} batch {} {:?} {m}x{n}x{k} slack {}",
            case.layout, case.batch, case.broadcast, case.slack
        );
        gpu.trial(&name, move |device| check(&device, &case))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
