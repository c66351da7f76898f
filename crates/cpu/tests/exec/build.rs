//! Writes programs by hand.

use gradus_graph::ops::{Binary, Reduction, Unary};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Scalar, Store};

/// A program under construction.
#[derive(Clone, Default)]
pub struct Build {
    pub program: Program,
}

impl Build {
    pub fn new(axes: &[usize], kept: usize) -> Self {
        let program = Program {
            axes: axes.to_vec(),
            kept,
            ..Program::default()
        };
        Self { program }
    }

    pub fn push(&mut self, expr: Expr, dtype: DType) -> ExprId {
        self.program.exprs.push(expr);
        self.program.dtypes.push(dtype);
        ExprId(self.program.exprs.len() as u32 - 1)
    }

    pub fn constant(&mut self, value: impl Into<Scalar>) -> ExprId {
        let value = value.into();
        self.push(Expr::Const(value), value.dtype())
    }

    pub fn load(&mut self, operand: usize, index: Index) -> ExprId {
        self.load_as(operand, index, DType::F32)
    }

    pub fn load_as(&mut self, operand: usize, index: Index, dtype: DType) -> ExprId {
        self.push(
            Expr::Load {
                operand,
                index,
                guard: None,
            },
            dtype,
        )
    }

    pub fn unary(&mut self, op: Unary, x: ExprId) -> ExprId {
        let dtype = if op == Unary::IsNan {
            DType::Bool
        } else {
            self.dtype(x)
        };
        self.push(Expr::Unary(op, x), dtype)
    }

    pub fn binary(&mut self, op: Binary, a: ExprId, b: ExprId) -> ExprId {
        let dtype = if op.is_comparison() {
            DType::Bool
        } else {
            self.dtype(a)
        };
        self.push(Expr::Binary(op, a, b), dtype)
    }

    pub fn select(&mut self, c: ExprId, a: ExprId, b: ExprId) -> ExprId {
        let dtype = self.dtype(a);
        self.push(Expr::Select(c, a, b), dtype)
    }

    pub fn cast(&mut self, x: ExprId, to: DType) -> ExprId {
        self.push(Expr::Cast(x), to)
    }

    pub fn reduce(&mut self, op: Reduction, x: ExprId) -> ExprId {
        let dtype = self.dtype(x);
        self.push(Expr::Reduce(op, x), dtype)
    }

    pub fn arg(&mut self, op: Reduction, x: ExprId) -> ExprId {
        self.push(Expr::ArgReduce(op, x), DType::I32)
    }

    pub fn store(&mut self, operand: usize, index: Index, value: ExprId) {
        self.program.stores.push(Store {
            operand,
            index,
            value,
        });
    }

    pub fn dtype(&self, x: ExprId) -> DType {
        self.program.dtypes[x.index()]
    }
}

/// `offset + Σ stride · axis`
pub fn at(offset: i64, strides: &[i64]) -> Index {
    let terms = strides
        .iter()
        .enumerate()
        .map(|(axis, s)| Index::axis(axis).scaled(*s));
    terms.fold(Index::constant(offset), |sum, term| sum.plus(&term))
}

/// Numbers that look random, in −1 .. 1.
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = gradus_graph::philox::Rng::new(seed, 1);
    (0..n).map(|_| (rng.uniform() * 2.0 - 1.0) as f32).collect()
}
