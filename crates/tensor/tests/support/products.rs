//! Matrix products of every layout, with awkward sizes, and what they should give.
#![allow(dead_code, reason = "each user takes what it needs")]

use std::fmt;

use gradus_graph::ops::{Binary, Unary};
use gradus_graph::philox::Rng;
use gradus_graph::plan::{MatMulKernel, Matrix};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Scalar, Store};

use crate::kernels::Memory;

/// What to multiply: layout, batch, M, N, K, and which operand is broadcast over the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) layout: &'static str,
    pub(crate) batch: usize,
    pub(crate) size: [usize; 3],
    pub(crate) broadcast: [bool; 2],
    /// Elements before the first matrix and between rows: 0 keeps everything aligned.
    pub(crate) slack: usize,
    /// Whether the product goes through bias, activation, dropout and a residual.
    pub(crate) epilogue: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [m, n, k] = self.size;
        write!(f, "{} {}×{m}×{n}×{k}", self.layout, self.batch)?;
        if self.slack > 0 {
            write!(f, ", slack {}", self.slack)?;
        }
        if self.epilogue {
            f.write_str(", epilogue")?;
        }
        let [a, b] = self.broadcast;
        let which = |yes, name| if yes { name } else { "" };
        write!(
            f,
            "{}{}",
            which(a, ", a broadcast"),
            which(b, ", b broadcast")
        )
    }
}

const LAYOUTS: [&str; 4] = ["nn", "nt", "tn", "tt"];

/// Everything that is tested.
pub(crate) fn cases() -> Vec<Case> {
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
        epilogue: false,
    };
    let mut cases = Vec::new();
    for (i, size) in sizes.into_iter().enumerate() {
        // Every size in three layouts, every layout with and without alignment.
        for (j, layout) in LAYOUTS.into_iter().enumerate() {
            if (i + j) % 4 != 3 {
                cases.push(Case {
                    slack: if (i + j) % 2 == 0 { 0 } else { 3 },
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
        for size in [[36, 40, 24], [33, 10, 17]] {
            cases.push(Case {
                epilogue: true,
                ..plain(layout, 2, size)
            });
        }
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
pub(crate) fn reference(kernel: &MatMulKernel, a: &[f32], b: &[f32]) -> [Vec<f64>; 2] {
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

/// Stores the accumulator, rows contiguous.
fn plain_epilogue(sizes: [usize; 3]) -> Program {
    let axes: Vec<_> = (0..3).map(Index::axis).collect();
    Program {
        axes: sizes.to_vec(),
        kept: 3,
        exprs: vec![Expr::Accumulator],
        dtypes: vec![DType::F32],
        stores: vec![Store {
            operand: 2,
            index: Index::linear(&axes, &sizes),
            value: ExprId(0),
        }],
    }
}

/// `z = acc + bias`, kept, and `y = dropout(relu(z)) + residual`; bias is operand 4, residual and
/// `y` are operand 5, updated in place.
fn layer_epilogue(sizes: [usize; 3]) -> Program {
    let axes: Vec<_> = (0..3).map(Index::axis).collect();
    let at = Index::linear(&axes, &sizes);
    let load = |operand, index| Expr::Load {
        operand,
        index,
        guard: None,
    };
    let id = ExprId;
    let exprs = vec![
        Expr::Accumulator,
        load(4, Index::axis(2)),
        Expr::Binary(Binary::Add, id(0), id(1)),
        Expr::Unary(Unary::Relu, id(2)),
        Expr::Random {
            stream: 77,
            index: at.clone(),
        },
        Expr::Const(Scalar::U32(1 << 30)),
        Expr::Binary(Binary::Ge, id(4), id(5)),
        Expr::Const(Scalar::F32(0.0)),
        Expr::Select(id(6), id(3), id(7)),
        load(5, at.clone()),
        Expr::Binary(Binary::Add, id(8), id(9)),
    ];
    let (f, u, b) = (DType::F32, DType::U32, DType::Bool);
    let store = |operand, value| Store {
        operand,
        index: at.clone(),
        value: id(value),
    };
    Program {
        axes: sizes.to_vec(),
        kept: 3,
        exprs,
        dtypes: vec![f, f, f, f, u, u, b, f, f, f, f],
        stores: vec![store(2, 2), store(5, 10)],
    }
}

/// The kernel and its memory: A, B, C, row sums, and for an epilogue bias and residual.
pub(crate) fn kernel(case: &Case) -> (MatMulKernel, Vec<Memory>) {
    let [m, n, k] = case.size;
    let mut rng = Rng::new(7, (m * 31 + n * 7 + k) as u64);
    let (a, a_values) = operand(case, 0, &mut rng);
    let (b, b_values) = operand(case, 1, &mut rng);
    let sizes = [case.batch, m, n];
    let kernel = MatMulKernel {
        batch: case.batch,
        m,
        n,
        k,
        a,
        b,
        row_sum: (case.batch == 1).then_some(3),
        epilogue: if case.epilogue {
            layer_epilogue(sizes)
        } else {
            plain_epilogue(sizes)
        },
    };
    let mut memory = vec![
        Memory::floats(&a_values),
        Memory::floats(&b_values),
        Memory::output(DType::F32, case.slack + case.batch * m * n),
        Memory::output(DType::F32, case.batch * m),
    ];
    memory[2].base = case.slack;
    if case.epilogue {
        let mut floats = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.uniform() as f32).collect() };
        memory.push(Memory::floats(&floats(n)));
        memory.push(Memory::floats(&floats(case.batch * m * n)));
        memory[5].writes = true;
    }
    (kernel, memory)
}

/// The floats of an operand.
pub(crate) fn floats(memory: &Memory) -> Vec<f32> {
    memory.words.iter().map(|w| f32::from_bits(*w)).collect()
}
