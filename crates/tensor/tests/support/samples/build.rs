//! Builds samples.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::philox::Rng;
use gradus_graph::{DType, Expr, ExprId, Index, Program, Scalar, Store, step_row};

use super::Sample;
use crate::kernels::Memory;

/// Builds a sample.
pub(super) struct Build {
    pub(super) program: Program,
    pub(super) memory: Vec<Memory>,
    pub(super) rng: Rng,
}

impl Build {
    pub(super) fn new(kept: &[usize], reduced: &[usize]) -> Self {
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

    pub(super) fn push(&mut self, expr: Expr, dtype: DType) -> ExprId {
        self.program.exprs.push(expr);
        self.program.dtypes.push(dtype);
        ExprId(self.program.exprs.len() as u32 - 1)
    }

    pub(super) fn constant(&mut self, v: impl Into<Scalar>) -> ExprId {
        let v = v.into();
        self.push(Expr::Const(v), v.dtype())
    }

    /// An operand of random floats in −2..2.
    pub(super) fn floats(&mut self, n: usize) -> usize {
        let values: Vec<f32> = (0..n)
            .map(|_| (self.rng.uniform() * 4.0 - 2.0) as f32)
            .collect();
        self.memory.push(Memory::floats(&values));
        self.memory.len() - 1
    }

    /// An operand of random integers below `bound`.
    pub(super) fn ints(&mut self, n: usize, bound: u32, dtype: DType) -> usize {
        let words = (0..n).map(|_| self.rng.below(bound)).collect();
        self.memory.push(Memory::input(dtype, words));
        self.memory.len() - 1
    }

    pub(super) fn output(&mut self, n: usize, dtype: DType) -> usize {
        self.memory.push(Memory::output(dtype, n));
        self.memory.len() - 1
    }

    pub(super) fn load(&mut self, operand: usize, index: &Index) -> ExprId {
        let dtype = self.memory[operand].dtype;
        let expr = Expr::Load {
            operand,
            index: index.clone(),
            guard: None,
        };
        self.push(expr, dtype)
    }

    pub(super) fn unary(&mut self, op: Unary, x: ExprId) -> ExprId {
        let dtype = if op == Unary::IsNan {
            DType::Bool
        } else {
            self.dtype(x)
        };
        self.push(Expr::Unary(op, x), dtype)
    }

    pub(super) fn binary(&mut self, op: Binary, a: ExprId, b: ExprId) -> ExprId {
        let dtype = if op.is_comparison() {
            DType::Bool
        } else {
            self.dtype(a)
        };
        self.push(Expr::Binary(op, a, b), dtype)
    }

    pub(super) fn select(&mut self, c: ExprId, a: ExprId, b: ExprId) -> ExprId {
        let dtype = self.dtype(a);
        self.push(Expr::Select(c, a, b), dtype)
    }

    pub(super) fn cast(&mut self, x: ExprId, dtype: DType) -> ExprId {
        self.push(Expr::Cast(x), dtype)
    }

    pub(super) fn reduce(&mut self, op: Reduction, x: ExprId) -> ExprId {
        let dtype = self.dtype(x);
        self.push(Expr::Reduce(op, x), dtype)
    }

    pub(super) fn store(&mut self, operand: usize, index: &Index, value: ExprId) {
        self.memory[operand].writes = true;
        self.program.stores.push(Store {
            operand,
            index: index.clone(),
            value,
        });
    }

    /// Stores to a new operand of the size of the axes.
    pub(super) fn store_all(&mut self, value: ExprId) {
        let n = self.program.axes.iter().product();
        let dtype = self.dtype(value);
        let out = self.output(n, dtype);
        let index = self.flat();
        self.store(out, &index, value);
    }

    /// Stores to a new operand with one element for each row.
    pub(super) fn store_rows(&mut self, value: ExprId) {
        let dtype = self.dtype(value);
        let out = self.output(self.program.rows(), dtype);
        let index = self.flat_rows();
        self.store(out, &index, value);
    }

    pub(super) fn flat(&self) -> Index {
        let axes: Vec<_> = (0..self.program.axes.len()).map(Index::axis).collect();
        Index::linear(&axes, &self.program.axes)
    }

    pub(super) fn flat_rows(&self) -> Index {
        let axes: Vec<_> = (0..self.program.kept).map(Index::axis).collect();
        Index::linear(&axes, &self.program.axes[..self.program.kept])
    }

    pub(super) fn dtype(&self, x: ExprId) -> DType {
        self.program.dtypes[x.index()]
    }

    pub(super) fn done(self, name: impl Into<String>) -> Sample {
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
