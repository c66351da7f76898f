//! Programs of every kind, with data: what the planner makes of common layers, and awkward shapes.

#![allow(dead_code, reason = "each user takes what it needs")]

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::philox::Rng;
use gradus_graph::plan::Role;
use gradus_graph::{DType, Expr, ExprId, Index, Program, Scalar, Store, step_row};

use crate::kernels::Memory;

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

/// Builds a sample.
struct Build {
    program: Program,
    memory: Vec<Memory>,
    rng: Rng,
}

impl Build {
    fn new(kept: &[usize], reduced: &[usize]) -> Self {
        Self {
            program: Program {
                axes: [kept, reduced].concat(),
                kept: kept.len(),
                ..Program::default()
            },
            memory: Vec::new(),
            rng: Rng::new(3, 5),
        }
    }

    fn push(&mut self, expr: Expr, dtype: DType) -> ExprId {
        self.program.exprs.push(expr);
        self.program.dtypes.push(dtype);
        ExprId(self.program.exprs.len() as u32 - 1)
    }

    fn constant(&mut self, v: impl Into<Scalar>) -> ExprId {
        let v = v.into();
        self.push(Expr::Const(v), v.dtype())
    }

    /// An operand of random floats in −2..2.
    fn floats(&mut self, n: usize) -> usize {
        let values: Vec<f32> = (0..n)
            .map(|_| (self.rng.uniform() * 4.0 - 2.0) as f32)
            .collect();
        self.memory.push(Memory::floats(&values));
        self.memory.len() - 1
    }

    /// An operand of random integers below `bound`.
    fn ints(&mut self, n: usize, bound: u32, dtype: DType) -> usize {
        let words = (0..n).map(|_| self.rng.below(bound)).collect();
        self.memory.push(Memory::input(dtype, words));
        self.memory.len() - 1
    }

    fn output(&mut self, n: usize, dtype: DType) -> usize {
        self.memory.push(Memory::output(dtype, n));
        self.memory.len() - 1
    }

    fn load(&mut self, operand: usize, index: &Index) -> ExprId {
        let dtype = self.memory[operand].dtype;
        let expr = Expr::Load {
            operand,
            index: index.clone(),
            guard: None,
        };
        self.push(expr, dtype)
    }

    fn unary(&mut self, op: Unary, x: ExprId) -> ExprId {
        let dtype = if op == Unary::IsNan {
            DType::Bool
        } else {
            self.dtype(x)
        };
        self.push(Expr::Unary(op, x), dtype)
    }

    fn binary(&mut self, op: Binary, a: ExprId, b: ExprId) -> ExprId {
        let dtype = if op.is_comparison() {
            DType::Bool
        } else {
            self.dtype(a)
        };
        self.push(Expr::Binary(op, a, b), dtype)
    }

    fn select(&mut self, c: ExprId, a: ExprId, b: ExprId) -> ExprId {
        let dtype = self.dtype(a);
        self.push(Expr::Select(c, a, b), dtype)
    }

    fn cast(&mut self, x: ExprId, dtype: DType) -> ExprId {
        self.push(Expr::Cast(x), dtype)
    }

    fn reduce(&mut self, op: Reduction, x: ExprId) -> ExprId {
        let dtype = self.dtype(x);
        self.push(Expr::Reduce(op, x), dtype)
    }

    fn store(&mut self, operand: usize, index: &Index, value: ExprId) {
        self.memory[operand].writes = true;
        self.program.stores.push(Store {
            operand,
            index: index.clone(),
            value,
        });
    }

    /// Stores to a new operand of the size of the axes.
    fn store_all(&mut self, value: ExprId) {
        let n = self.program.axes.iter().product();
        let dtype = self.dtype(value);
        let out = self.output(n, dtype);
        let index = self.flat();
        self.store(out, &index, value);
    }

    /// Stores to a new operand with one element for each row.
    fn store_rows(&mut self, value: ExprId) {
        let dtype = self.dtype(value);
        let out = self.output(self.program.rows(), dtype);
        let index = self.flat_rows();
        self.store(out, &index, value);
    }

    fn flat(&self) -> Index {
        let axes: Vec<_> = (0..self.program.axes.len()).map(Index::axis).collect();
        Index::linear(&axes, &self.program.axes)
    }

    fn flat_rows(&self) -> Index {
        let axes: Vec<_> = (0..self.program.kept).map(Index::axis).collect();
        Index::linear(&axes, &self.program.axes[..self.program.kept])
    }

    fn dtype(&self, x: ExprId) -> DType {
        self.program.dtypes[x.index()]
    }

    fn done(self, name: impl Into<String>) -> Sample {
        let mut step_row = [0; 64];
        step_row[step_row::STEP as usize] = 12;
        step_row[step_row::SEED_LOW as usize] = 0x1234_5678;
        step_row[step_row::SEED_HIGH as usize] = 9;
        step_row[step_row::RING as usize] = 16;
        for (i, word) in (0u16..).zip(&mut step_row[step_row::OPTIMIZER as usize..]) {
            *word = (0.01 + 0.1 * f32::from(i)).to_bits();
        }
        Sample {
            name: name.into(),
            program: self.program,
            memory: self.memory,
            step_row,
            tolerance: 4.0,
        }
    }
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
fn concat() -> Sample {
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
fn padded_window() -> Sample {
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
fn gather() -> Sample {
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
fn integers(dtype: DType, binary: &[Binary], unary: &[Unary]) -> Sample {
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
fn conversions() -> Sample {
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

fn total() -> Sample {
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

fn bools() -> Sample {
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
fn split_axes() -> Sample {
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
fn based() -> Sample {
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
fn ring() -> Sample {
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
fn functions() -> Sample {
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
