//! A program, element by element, floats in f64: slow and plain.
#![allow(dead_code, reason = "each user takes what it needs")]

use std::collections::HashMap;

use gradus_graph::ops::{Binary, Reduction};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Scalar, philox, step_row};

use crate::kernels::Memory;

/// What each store writes: for each operand, element → value.
pub(crate) type Written = Vec<HashMap<usize, Scalar>>;

pub(crate) struct Interpreter<'a> {
    pub(crate) program: &'a Program,
    pub(crate) memory: &'a [Memory],
    pub(crate) step_row: &'a [u32; 64],
    /// The error words.
    pub(crate) errors: Vec<u32>,
    /// The accumulator of an epilogue, by row-major position on the kept axes.
    pub(crate) accumulator: Option<&'a [f64]>,
}

impl Interpreter<'_> {
    pub(crate) fn run(&mut self) -> Written {
        let mut written = vec![HashMap::new(); self.memory.len()];
        let program = self.program;
        let kept = program.axes[..program.kept].to_vec();
        let reduced = program.axes[program.kept..].to_vec();
        let full = program.full();
        for row in positions(&kept) {
            let mut known = HashMap::new();
            for store in &program.stores {
                let walks = full[store.value.index()] || program.is_full_index(&store.index);
                let cols = if walks {
                    positions(&reduced)
                } else {
                    vec![vec![0; reduced.len()]]
                };
                for col in cols {
                    let at = [&row[..], &col[..]].concat();
                    let value = self.eval(store.value, &at, &mut known);
                    let mut element = store.index.eval(&at) as usize;
                    if self.memory[store.operand].role == gradus_graph::plan::Role::Ring {
                        element += self.step_row[step_row::RING as usize] as usize;
                    }
                    written[store.operand].insert(element, value);
                }
            }
        }
        written
    }

    fn eval(&mut self, id: ExprId, at: &[usize], known: &mut HashMap<ExprId, Scalar>) -> Scalar {
        let program = self.program;
        let dtype = program.dtypes[id.index()];
        match &program.exprs[id.index()] {
            Expr::Const(v) => *v,
            Expr::Load {
                operand,
                index,
                guard,
            } => {
                if let Some(guard) = guard
                    && self.eval(*guard, at, known) == Scalar::Bool(false)
                {
                    return Scalar::zero(dtype);
                }
                self.element(*operand, index.eval(at))
            }
            Expr::LoadRow {
                operand,
                row,
                stride,
                index,
                guard,
            } => {
                if let Some(guard) = guard
                    && self.eval(*guard, at, known) == Scalar::Bool(false)
                {
                    return Scalar::zero(dtype);
                }
                let row = i64::from(bits(self.eval(*row, at, known)));
                self.element(*operand, row * *stride as i64 + index.eval(at))
            }
            Expr::Index(index) => Scalar::I32(index.eval(at) as i32),
            Expr::InRange { index, low, high } => {
                Scalar::Bool((*low..*high).contains(&index.eval(at)))
            }
            Expr::Random { stream, index } => Scalar::U32(self.random(*stream, index, at)),
            Expr::StepWord(word) => {
                Scalar::F32(f64::from(f32::from_bits(self.step_row[*word as usize])))
            }
            Expr::Total { operand, count } => {
                let elements = (0..*count).map(|i| float(self.element(*operand, i as i64)));
                Scalar::F32(elements.sum())
            }
            Expr::Accumulator => {
                let kept = &program.axes[..program.kept];
                let at = kept.iter().zip(at).fold(0, |sum, (n, i)| sum * n + i);
                Scalar::F32(self.accumulator.map_or(0.0, |a| a[at]))
            }
            Expr::Unary(op, x) => match self.eval(*x, at, known) {
                Scalar::F32(x) if dtype == DType::Bool => Scalar::Bool(op.apply(x) != 0.0),
                Scalar::F32(x) => Scalar::F32(op.apply(x)),
                Scalar::I32(x) => Scalar::I32(op.apply_i32(x)),
                Scalar::U32(x) => Scalar::U32(op.apply_u32(x)),
                Scalar::Bool(x) => Scalar::Bool(!x),
            },
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.eval(*a, at, known), self.eval(*b, at, known));
                binary(*op, a, b)
            }
            Expr::Select(c, a, b) => {
                let side = if self.eval(*c, at, known) == Scalar::Bool(true) {
                    a
                } else {
                    b
                };
                self.eval(*side, at, known)
            }
            Expr::Cast(x) => cast(self.eval(*x, at, known), dtype),
            Expr::CheckIndex { bound, site, x } => {
                let x = self.eval(*x, at, known);
                if bits(x) < *bound {
                    return x;
                }
                self.errors[*site] = self.errors[*site].max(bits(x));
                Scalar::zero(dtype)
            }
            Expr::Reduce(op, x) => self.reduce(id, *op, *x, at, known).0,
            Expr::ArgReduce(op, x) => self.reduce(id, *op, *x, at, known).1,
        }
    }

    fn reduce(
        &mut self,
        id: ExprId,
        op: Reduction,
        x: ExprId,
        at: &[usize],
        known: &mut HashMap<ExprId, Scalar>,
    ) -> (Scalar, Scalar) {
        if let Some(v) = known.get(&id) {
            return (*v, *v);
        }
        let row = at[..self.program.kept].to_vec();
        let mut best: Option<(Scalar, i32)> = None;
        let cols = positions(&self.program.axes[self.program.kept..]);
        for (position, col) in (0..).zip(cols) {
            let at = [&row[..], &col[..]].concat();
            let value = self.eval(x, &at, known);
            best = Some(match (best, op) {
                (None, _) => (value, position),
                (Some((sum, at)), Reduction::Sum) => (binary(Binary::Add, sum, value), at),
                (Some((all, at)), Reduction::Prod) => (binary(Binary::Mul, all, value), at),
                (Some(old), Reduction::Max) => better(Binary::Gt, old, (value, position)),
                (Some(old), Reduction::Min) => better(Binary::Lt, old, (value, position)),
            });
        }
        let (value, position) = best.unwrap_or((Scalar::zero(self.program.dtypes[x.index()]), 0));
        let arg = matches!(self.program.exprs[id.index()], Expr::ArgReduce(..));
        let result = if arg { Scalar::I32(position) } else { value };
        known.insert(id, result);
        (value, Scalar::I32(position))
    }

    fn element(&self, operand: usize, at: i64) -> Scalar {
        let memory = &self.memory[operand];
        let word = memory.words[memory.base + usize::try_from(at).unwrap()];
        match memory.dtype {
            DType::F32 => Scalar::F32(f64::from(f32::from_bits(word))),
            DType::I32 => Scalar::I32(word as i32),
            DType::U32 => Scalar::U32(word),
            DType::Bool => Scalar::Bool(word != 0),
        }
    }

    fn random(&self, stream: u64, index: &Index, at: &[usize]) -> u32 {
        let low = u64::from(self.step_row[step_row::SEED_LOW as usize]);
        let high = u64::from(self.step_row[step_row::SEED_HIGH as usize]);
        let step = self.step_row[step_row::STEP as usize];
        philox::random_word(high << 32 | low, stream, step, index.eval(at) as u32)
    }
}

fn better(op: Binary, old: (Scalar, i32), new: (Scalar, i32)) -> (Scalar, i32) {
    if binary(op, new.0, old.0) == Scalar::Bool(true) {
        new
    } else {
        old
    }
}

pub(crate) fn binary(op: Binary, a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::F32(a), Scalar::F32(b)) if op.is_comparison() => Scalar::Bool(op.compare(a, b)),
        (Scalar::I32(a), Scalar::I32(b)) if op.is_comparison() => Scalar::Bool(op.compare(a, b)),
        (Scalar::U32(a), Scalar::U32(b)) if op.is_comparison() => Scalar::Bool(op.compare(a, b)),
        (Scalar::F32(a), Scalar::F32(b)) => Scalar::F32(op.apply(a, b)),
        (Scalar::I32(a), Scalar::I32(b)) => Scalar::I32(op.apply_i32(a, b)),
        (Scalar::U32(a), Scalar::U32(b)) => Scalar::U32(op.apply_u32(a, b)),
        (Scalar::Bool(a), Scalar::Bool(b)) => Scalar::Bool(op.apply_bool(a, b)),
        _ => panic!("dtypes of {op:?} differ: {a:?} {b:?}"),
    }
}

fn cast(x: Scalar, to: DType) -> Scalar {
    match (x, to) {
        (Scalar::F32(x), DType::I32) => Scalar::I32(x as f32 as i32),
        (Scalar::F32(x), DType::U32) => Scalar::U32(x as f32 as u32),
        (Scalar::F32(x), DType::Bool) => Scalar::Bool(x != 0.0),
        (x, DType::F32) => Scalar::F32(float(x)),
        (x, DType::I32) => Scalar::I32(bits(x) as i32),
        (x, DType::U32) => Scalar::U32(bits(x)),
        (x, DType::Bool) => Scalar::Bool(bits(x) != 0),
    }
}

pub(crate) fn float(x: Scalar) -> f64 {
    match x {
        Scalar::F32(x) => x,
        Scalar::I32(x) => f64::from(x),
        Scalar::U32(x) => f64::from(x),
        Scalar::Bool(x) => f64::from(u8::from(x)),
    }
}

fn bits(x: Scalar) -> u32 {
    x.to_bits()
}

/// All positions on axes of these sizes, in row-major order.
fn positions(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![Vec::new()], |all, &size| {
        all.iter()
            .flat_map(|p| (0..size).map(move |i| [&p[..], &[i]].concat()))
            .collect()
    })
}
