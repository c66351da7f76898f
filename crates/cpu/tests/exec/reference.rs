//! What a program means: computed position by position, floats in f64.

use std::collections::BTreeMap;

use gradus_graph::backend::StepRow;
use gradus_graph::ops::{Reduction, Unary};
use gradus_graph::{DType, Expr, ExprId, Index, Program, philox, step_row};

use super::bench::Memory;

/// A value: floats as they are, everything else as its bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    Float(f64),
    Bits(u32),
}

impl Cell {
    pub fn float(self) -> f64 {
        let Self::Float(v) = self else {
            panic!("not a float")
        };
        v
    }

    pub fn bits(self) -> u32 {
        let Self::Bits(v) = self else {
            panic!("not bits")
        };
        v
    }

    fn of(word: u32, dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::Float(f64::from(f32::from_bits(word))),
            _ => Self::Bits(word),
        }
    }
}

/// What is stored, by operand and element.
pub type Stored = BTreeMap<(usize, i64), Cell>;

/// Everything that a program stores, and the worst bad index of each site.
pub fn evaluate(program: &Program, memory: &[Memory], row: &StepRow) -> (Stored, Vec<u32>) {
    let mut stored = Stored::new();
    let mut errors = vec![0; 2];
    for at in positions(&program.axes[..program.kept]) {
        let mut point = Point {
            program,
            memory,
            row,
            errors: &mut errors,
            reductions: BTreeMap::new(),
        };
        for store in &program.stores {
            let full = program.is_full_index(&store.index);
            let cols = if full {
                positions(&program.axes[program.kept..])
            } else {
                vec![vec![]]
            };
            for col in cols {
                let mut here = at.clone();
                here.extend(col);
                here.resize(program.axes.len(), 0);
                let value = point.value(store.value, &here);
                stored.insert((store.operand, store.index.eval(&here)), value);
            }
        }
    }
    (stored, errors)
}

fn positions(sizes: &[usize]) -> Vec<Vec<usize>> {
    let count: usize = sizes.iter().product();
    let unravel = |mut i: usize| {
        let mut at = vec![0; sizes.len()];
        for (axis, size) in sizes.iter().enumerate().rev() {
            at[axis] = i % size;
            i /= size;
        }
        at
    };
    (0..count).map(unravel).collect()
}

struct Point<'a> {
    program: &'a Program,
    memory: &'a [Memory],
    row: &'a StepRow,
    errors: &'a mut Vec<u32>,
    /// Of this row, computed once.
    reductions: BTreeMap<ExprId, Cell>,
}

impl Point<'_> {
    fn dtype(&self, id: ExprId) -> DType {
        self.program.dtypes[id.index()]
    }

    fn load(&self, operand: usize, at: i64, dtype: DType) -> Cell {
        Cell::of(self.memory[operand].words[at as usize], dtype)
    }

    fn holds(&mut self, guard: Option<ExprId>, at: &[usize]) -> bool {
        guard.is_none_or(|g| self.value(g, at).bits() != 0)
    }

    fn value(&mut self, id: ExprId, at: &[usize]) -> Cell {
        let dtype = self.dtype(id);
        let zero = if dtype == DType::F32 {
            Cell::Float(0.0)
        } else {
            Cell::Bits(0)
        };
        match self.program.exprs[id.index()].clone() {
            Expr::Const(v) => Cell::of(v.to_bits(), dtype),
            Expr::Load {
                operand,
                index,
                guard,
            } => match self.holds(guard, at) {
                true => self.load(operand, index.eval(at), dtype),
                false => zero,
            },
            Expr::LoadRow {
                operand,
                row,
                stride,
                index,
                guard,
            } => {
                let row = i64::from(self.value(row, at).bits());
                match self.holds(guard, at) {
                    true => self.load(operand, index.eval(at) + row * stride as i64, dtype),
                    false => zero,
                }
            }
            Expr::Index(index) => Cell::Bits(index.eval(at) as u32),
            Expr::InRange { index, low, high } => {
                Cell::Bits(u32::from((low..high).contains(&index.eval(at))))
            }
            Expr::Random { stream, index } => Cell::Bits(self.random(stream, &index, at)),
            Expr::StepWord(word) => Cell::of(self.row[word as usize], DType::F32),
            Expr::Total { operand, count } => {
                let sum = (0..count as i64).map(|i| self.load(operand, i, DType::F32).float());
                Cell::Float(sum.sum())
            }
            Expr::Accumulator => panic!("no accumulator here"),
            Expr::Unary(op, x) => {
                let from = self.dtype(x);
                let x = self.value(x, at);
                match (from, op) {
                    (DType::F32, Unary::IsNan) => Cell::Bits(u32::from(x.float().is_nan())),
                    (DType::F32, _) => Cell::Float(op.apply(x.float())),
                    (DType::I32, _) => Cell::Bits(op.apply_i32(x.bits() as i32) as u32),
                    (DType::U32, _) => Cell::Bits(op.apply_u32(x.bits())),
                    (DType::Bool, _) => Cell::Bits(1 - x.bits()),
                }
            }
            Expr::Binary(op, a, b) => {
                let from = self.dtype(a);
                let (a, b) = (self.value(a, at), self.value(b, at));
                match from {
                    DType::F32 if op.is_comparison() => {
                        Cell::Bits(u32::from(op.compare(a.float(), b.float())))
                    }
                    DType::F32 => Cell::Float(op.apply(a.float(), b.float())),
                    DType::Bool => {
                        Cell::Bits(u32::from(op.apply_bool(a.bits() != 0, b.bits() != 0)))
                    }
                    DType::I32 => {
                        let (a, b) = (a.bits() as i32, b.bits() as i32);
                        Cell::Bits(if op.is_comparison() {
                            op.compare(a, b).into()
                        } else {
                            op.apply_i32(a, b) as u32
                        })
                    }
                    DType::U32 => {
                        let (a, b) = (a.bits(), b.bits());
                        Cell::Bits(if op.is_comparison() {
                            op.compare(a, b).into()
                        } else {
                            op.apply_u32(a, b)
                        })
                    }
                }
            }
            Expr::Select(c, a, b) => {
                let c = self.value(c, at).bits() != 0;
                self.value(if c { a } else { b }, at)
            }
            Expr::Cast(x) => {
                let from = self.dtype(x);
                cast(self.value(x, at), from, dtype)
            }
            Expr::CheckIndex { bound, site, x } => {
                let bits = self.value(x, at).bits();
                if bits >= bound {
                    self.errors[site] = self.errors[site].max(bits);
                    return Cell::Bits(0);
                }
                Cell::Bits(bits)
            }
            Expr::Reduce(op, x) => self.reduce(id, op, x, false, at),
            Expr::ArgReduce(op, x) => self.reduce(id, op, x, true, at),
        }
    }

    fn random(&self, stream: u64, index: &Index, at: &[usize]) -> u32 {
        let word = |i: u32| u64::from(self.row[i as usize]);
        let seed = word(step_row::SEED_LOW) | word(step_row::SEED_HIGH) << 32;
        let step = self.row[step_row::STEP as usize];
        philox::random_word(seed, stream, step, index.eval(at) as u32)
    }

    fn reduce(
        &mut self,
        id: ExprId,
        op: Reduction,
        x: ExprId,
        position: bool,
        at: &[usize],
    ) -> Cell {
        if let Some(found) = self.reductions.get(&id) {
            return *found;
        }
        let kept = self.program.kept;
        let dtype = self.dtype(x);
        let cols = positions(&self.program.axes[kept..]);
        let values: Vec<Cell> = cols
            .iter()
            .map(|col| self.value(x, &[&at[..kept], col].concat()))
            .collect();
        let beats = |a: Cell, b: Cell| match (dtype, op) {
            (DType::F32, _) if a.float().is_nan() => !b.float().is_nan(),
            (DType::F32, Reduction::Min) => a.float() < b.float(),
            (DType::F32, _) => a.float() > b.float(),
            (DType::I32, Reduction::Min) => (a.bits() as i32) < b.bits() as i32,
            (DType::I32, _) => (a.bits() as i32) > b.bits() as i32,
            (_, Reduction::Min) => a.bits() < b.bits(),
            _ => a.bits() > b.bits(),
        };
        let result = match (op, dtype) {
            (Reduction::Sum, DType::F32) => Cell::Float(values.iter().map(|v| v.float()).sum()),
            (Reduction::Sum, _) => Cell::Bits(
                values
                    .iter()
                    .fold(0, |sum: u32, v| sum.wrapping_add(v.bits())),
            ),
            _ => {
                let mut best = 0;
                for i in 1..values.len() {
                    if beats(values[i], values[best]) {
                        best = i;
                    }
                }
                if position {
                    Cell::Bits(best as u32)
                } else {
                    values[best]
                }
            }
        };
        self.reductions.insert(id, result);
        result
    }
}

fn cast(x: Cell, from: DType, to: DType) -> Cell {
    match (from, to) {
        (DType::F32, DType::I32) => Cell::Bits(x.float() as i32 as u32),
        (DType::F32, DType::U32) => Cell::Bits(x.float() as u32),
        (DType::F32, DType::Bool) => Cell::Bits(u32::from(x.float() != 0.0)),
        (DType::F32, DType::F32) => x,
        (DType::I32, DType::F32) => Cell::Float(f64::from(x.bits() as i32 as f32)),
        (_, DType::F32) => Cell::Float(f64::from(x.bits() as f32)),
        (_, DType::Bool) => Cell::Bits(u32::from(x.bits() != 0)),
        _ => x,
    }
}
