//! Emits the steps of expressions.

use gradus_graph::ops::Reduction;
use gradus_graph::{DType, Expr, ExprId, Index, Program};

use super::compile::Code;
use super::positions::Positions;
use super::space::{Order, Space};
use super::step::{Fold, Level, Phase, Source, Step, Work};
use super::tile::Tiling;

/// Emits steps, in the order in which values are asked for.
pub(super) struct Emitter<'a> {
    program: &'a Program,
    space: &'a Space,
    tiling: Tiling,
    levels: Vec<Level>,
    /// Where each expression is found, at its own level.
    found: Vec<Option<Source>>,
    /// Where each row expression is found, repeated for every column.
    spread: Vec<Option<Source>>,
    /// The phase under construction.
    pub(super) phase: Phase,
    pub(super) code: Code,
    values: usize,
}

impl<'a> Emitter<'a> {
    /// For tiles of this size.
    pub(super) fn new(program: &'a Program, space: &'a Space, tiling: Tiling) -> Self {
        let count = program.exprs.len();
        Self {
            program,
            space,
            tiling,
            levels: levels(program),
            found: vec![None; count],
            spread: vec![None; count],
            phase: Phase::default(),
            code: Code::default(),
            values: 0,
        }
    }

    /// How often an expression is computed.
    pub(super) fn level(&self, id: ExprId) -> Level {
        self.levels
            .get(id.index())
            .copied()
            .unwrap_or(Level::Uniform)
    }

    fn dtype(&self, id: ExprId) -> Result<DType, String> {
        let dtype = self.program.dtypes.get(id.index()).copied();
        dtype.ok_or_else(|| format!("expression {} has no dtype", id.0))
    }

    /// Begins another pass over the columns. Values of single elements are kept if their registers
    /// hold all columns.
    pub(super) fn end_phase(&mut self, keep: bool) {
        self.code.phases.push(std::mem::take(&mut self.phase));
        if !keep {
            self.spread.fill(None);
            for (found, level) in self.found.iter_mut().zip(&self.levels) {
                if *level == Level::Full {
                    *found = None;
                }
            }
        }
    }

    fn push(&mut self, level: Level, work: Work) -> Source {
        let dst = self.values;
        self.values += 1;
        let step = Step { dst, work };
        match level {
            Level::Uniform => self.code.uniform.push(step),
            Level::Row => self.phase.rows.push(step),
            Level::Full => self.phase.full.push(step),
        }
        if level == Level::Uniform {
            Source::First(dst)
        } else {
            Source::Block(dst)
        }
    }

    /// Emits a reduction.
    pub(super) fn fold(&mut self, i: usize) -> Result<(), String> {
        let (op, position, x) = match self.program.exprs.get(i) {
            Some(Expr::Reduce(op, x)) => (*op, false, *x),
            Some(Expr::ArgReduce(op, x)) => (*op, true, *x),
            _ => return Ok(()),
        };
        let dtype = self.dtype(x)?;
        if position && !matches!(op, Reduction::Max | Reduction::Min) {
            return Err(format!("a {} has no position", op.name()));
        }
        let x = self.full(x)?;
        let dst = self.values;
        self.values += 1;
        let (value, position) = if position {
            (None, Some(dst))
        } else {
            (Some(dst), None)
        };
        // An extreme and its position are found in one pass.
        let mut others = self.phase.folds.iter_mut();
        let other = others.find(|f| {
            let free = [(f.value, value), (f.position, position)];
            let free = free.iter().all(|(old, new)| old.is_none() || new.is_none());
            op != Reduction::Sum && (f.op, f.dtype, f.x) == (op, dtype, x) && free
        });
        if let Some(fold) = other {
            fold.value = fold.value.or(value);
            fold.position = fold.position.or(position);
        } else {
            self.phase.folds.push(Fold {
                op,
                dtype,
                x,
                value,
                position,
            });
        }
        if let Some(found) = self.found.get_mut(i) {
            *found = Some(Source::Block(dst));
        }
        Ok(())
    }

    /// The value of an expression for every row and column.
    pub(super) fn full(&mut self, id: ExprId) -> Result<Source, String> {
        let value = self.value(id)?;
        if self.level(id) != Level::Row {
            return Ok(value);
        }
        if let Some(Some(spread)) = self.spread.get(id.index()) {
            return Ok(*spread);
        }
        let spread = match value {
            Source::Block(register) if self.tiling.rows == 1 => Source::First(register),
            // The values of the rows are those of the tile's only column.
            _ if self.tiling.cols == 1 => value,
            _ => self.push(Level::Full, Work::Spread(value)),
        };
        if let Some(place) = self.spread.get_mut(id.index()) {
            *place = Some(spread);
        }
        Ok(spread)
    }

    /// The value of an expression, as a step of this level needs it.
    fn at(&mut self, level: Level, id: ExprId) -> Result<Source, String> {
        if level == Level::Full {
            self.full(id)
        } else {
            self.value(id)
        }
    }

    /// The value of an expression, at its own level.
    pub(super) fn value(&mut self, id: ExprId) -> Result<Source, String> {
        if let Some(Some(found)) = self.found.get(id.index()) {
            return Ok(*found);
        }
        // In order, not by recursion: a chain of ops may be longer than a stack is deep.
        for i in self.missing(id) {
            self.emit(i)?;
        }
        self.emit(id)
    }

    /// What an expression needs, directly or not, and was not emitted yet, in order.
    fn missing(&self, id: ExprId) -> Vec<ExprId> {
        let mut needed = vec![false; id.index() + 1];
        let mut missing = Vec::new();
        let mark = |needed: &mut Vec<bool>, id: ExprId| {
            for x in self.program.expr(id).map(Expr::uses).unwrap_or_default() {
                if let Some(needed) = needed.get_mut(x.index()) {
                    *needed = true;
                }
            }
        };
        mark(&mut needed, id);
        for i in (0..id.0).rev() {
            let here = ExprId(i);
            let known = !matches!(self.found.get(here.index()), Some(None));
            if needed.get(here.index()) == Some(&true) && !known {
                mark(&mut needed, here);
                missing.push(here);
            }
        }
        missing.reverse();
        missing
    }

    /// Emits an expression whose sources are there.
    fn emit(&mut self, id: ExprId) -> Result<Source, String> {
        let expr = self
            .program
            .expr(id)
            .ok_or_else(|| format!("no expression {}", id.0))?;
        let level = self.level(id);
        let source = match expr {
            Expr::Const(value) => Source::Const(value.to_bits()),
            Expr::Accumulator => return Err("an accumulator outside of a matmul".into()),
            Expr::Reduce(..) | Expr::ArgReduce(..) => {
                return Err(format!(
                    "expression {} uses a reduction of its own pass",
                    id.0
                ));
            }
            _ => {
                let work = self.work(id, expr, level)?;
                self.push(level, work)
            }
        };
        if let Some(found) = self.found.get_mut(id.index()) {
            *found = Some(source);
        }
        Ok(source)
    }

    fn work(&mut self, id: ExprId, expr: &Expr, level: Level) -> Result<Work, String> {
        let space = self.space;
        Ok(match expr {
            Expr::Load {
                operand,
                index,
                guard,
            } => Work::Load {
                operand: *operand,
                at: Positions::new(index, space)?,
                guard: guard.map(|g| self.at(level, g)).transpose()?,
                copy: self.is_stored(id),
            },
            Expr::LoadRow {
                operand,
                row,
                stride,
                index,
                guard,
            } => {
                let lines = self.tiling.order == Order::RowMajor && self.tiling.rows > 1;
                let by_row = level == Level::Full && self.level(*row) == Level::Row && lines;
                Work::LoadRow {
                    operand: *operand,
                    row: if by_row {
                        self.value(*row)?
                    } else {
                        self.at(level, *row)?
                    },
                    by_row,
                    stride: i64::try_from(*stride).unwrap_or(i64::MAX),
                    at: Positions::new(index, space)?,
                    guard: guard.map(|g| self.at(level, g)).transpose()?,
                }
            }
            Expr::Index(index) => Work::Index(Positions::new(index, space)?),
            Expr::InRange { index, low, high } => Work::InRange {
                at: Positions::new(index, space)?,
                low: *low,
                high: *high,
            },
            Expr::Random { stream, index } => Work::Random {
                stream: *stream,
                at: Positions::new(index, space)?,
            },
            Expr::StepWord(word) => Work::StepWord(*word as usize),
            Expr::Total { operand, count } => Work::Total {
                operand: *operand,
                count: *count,
                dtype: self.dtype(id)?,
            },
            Expr::Unary(op, x) => Work::Unary(*op, self.dtype(*x)?, self.at(level, *x)?),
            Expr::Binary(op, a, b) => Work::Binary(
                *op,
                self.dtype(*a)?,
                self.at(level, *a)?,
                self.at(level, *b)?,
            ),
            Expr::Select(c, a, b) => Work::Select(
                self.at(level, *c)?,
                self.at(level, *a)?,
                self.at(level, *b)?,
            ),
            Expr::Cast(x) => Work::Cast {
                from: self.dtype(*x)?,
                to: self.dtype(id)?,
                x: self.at(level, *x)?,
            },
            Expr::CheckIndex { bound, site, x } => Work::Check {
                bound: *bound,
                site: *site,
                x: self.at(level, *x)?,
            },
            Expr::Const(_) | Expr::Accumulator | Expr::Reduce(..) | Expr::ArgReduce(..) => {
                return Err(format!("expression {} is not computed by a step", id.0));
            }
        })
    }

    /// True if a store takes this very expression, which it may do after another store has
    /// overwritten the memory that it was loaded from.
    fn is_stored(&self, id: ExprId) -> bool {
        self.program.stores.iter().any(|s| s.value == id)
    }
}

/// How often each expression is computed.
fn levels(program: &Program) -> Vec<Level> {
    let kept = |index: &Index| (0..program.kept).any(|axis| index.uses(axis));
    let mut levels: Vec<Level> = Vec::with_capacity(program.exprs.len());
    for expr in &program.exprs {
        let own = match expr.index() {
            Some(index) if program.is_full_index(index) => Level::Full,
            Some(index) if kept(index) => Level::Row,
            _ => Level::Uniform,
        };
        let used = expr
            .uses()
            .iter()
            .filter_map(|x| levels.get(x.index()).copied())
            .max();
        levels.push(match used {
            _ if expr.is_reduction() => Level::Row,
            Some(used) => own.max(used),
            None => own,
        });
    }
    levels
}
