//! Turns a program into steps.

use gradus_graph::ops::Reduction;
use gradus_graph::{DType, Expr, ExprId, Index, Program};

use super::positions::{Positions, Space};
use super::registers;
use super::step::{Fold, Level, Phase, Source, Step, Work, Write};
use super::tile::Tiling;

/// A program as steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    /// Computed once.
    pub(super) uniform: Vec<Step>,
    /// Passes over the columns, for some rows at a time.
    pub(super) phases: Vec<Phase>,
    /// After the last of them, for each row.
    pub(super) tail: Vec<Write>,
    /// How many registers they use.
    pub(super) registers: usize,
}

/// Compiles a program over simple axes. What is not needed is left out; what is needed in several
/// passes is computed once if all columns fit one tile, and again in each pass otherwise.
pub(super) fn compile(program: &Program, space: &Space, tiling: &Tiling) -> Result<Code, String> {
    let levels = levels(program);
    let passes = program.passes();
    let count = program.exprs.len();
    let mut emit = Emitter {
        program,
        space,
        one_row: tiling.rows == 1,
        levels,
        found: vec![None; count],
        spread: vec![None; count],
        phase: Phase::default(),
        code: Code::default(),
        values: 0,
    };
    let last = (0..count)
        .filter(|&i| program.exprs.get(i).is_some_and(Expr::is_reduction))
        .filter_map(|i| passes.get(i))
        .max();
    for pass in 0..last.map_or(0, |p| p + 1) {
        for i in 0..count {
            if passes.get(i) == Some(&pass) {
                emit.fold(i)?;
            }
        }
        emit.end_phase(tiling.cols >= space.cols());
    }
    for store in &program.stores {
        let at = Positions::new(&store.index, space)?;
        let full = program.is_full_index(&store.index);
        let value = if full {
            emit.full(store.value)?
        } else {
            emit.value(store.value)?
        };
        let write = Write {
            operand: store.operand,
            at,
            value,
        };
        if full || emit.level(store.value) == Level::Full {
            emit.phase.writes.push(write);
        } else {
            emit.code.tail.push(write);
        }
    }
    emit.end_phase(true);
    let mut code = emit.code;
    code.registers = registers::assign(&mut code.uniform, &mut code.phases, &mut code.tail);
    Ok(code)
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

struct Emitter<'a> {
    program: &'a Program,
    space: &'a Space,
    /// Tiles have one row, so that a row's value is the same for the whole tile.
    one_row: bool,
    levels: Vec<Level>,
    /// Where each expression is found, at its own level.
    found: Vec<Option<Source>>,
    /// Where each row expression is found, repeated for every column.
    spread: Vec<Option<Source>>,
    phase: Phase,
    code: Code,
    values: usize,
}

impl Emitter<'_> {
    fn level(&self, id: ExprId) -> Level {
        self.levels
            .get(id.index())
            .copied()
            .unwrap_or(Level::Uniform)
    }

    fn dtype(&self, id: ExprId) -> Result<DType, String> {
        let dtype = self.program.dtypes.get(id.index()).copied();
        dtype.ok_or_else(|| format!("expression {} has no dtype", id.0))
    }

    fn end_phase(&mut self, keep: bool) {
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
    fn fold(&mut self, i: usize) -> Result<(), String> {
        let (op, position, x) = match self.program.exprs.get(i) {
            Some(Expr::Reduce(op, x)) => (*op, false, *x),
            Some(Expr::ArgReduce(op, x)) => (*op, true, *x),
            _ => return Ok(()),
        };
        let dtype = self.dtype(x)?;
        if position && op == Reduction::Sum {
            return Err("a sum has no position".into());
        }
        let x = self.full(x)?;
        let dst = self.values;
        self.values += 1;
        self.phase.folds.push(Fold {
            op,
            position,
            dtype,
            x,
            dst,
        });
        if let Some(found) = self.found.get_mut(i) {
            *found = Some(Source::Block(dst));
        }
        Ok(())
    }

    /// The value of an expression for every row and column.
    fn full(&mut self, id: ExprId) -> Result<Source, String> {
        let value = self.value(id)?;
        if self.level(id) != Level::Row {
            return Ok(value);
        }
        if let Some(Some(spread)) = self.spread.get(id.index()) {
            return Ok(*spread);
        }
        let spread = match value {
            Source::Block(register) if self.one_row => Source::First(register),
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
    fn value(&mut self, id: ExprId) -> Result<Source, String> {
        if let Some(Some(found)) = self.found.get(id.index()) {
            return Ok(*found);
        }
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
            } => Work::LoadRow {
                operand: *operand,
                row: self.at(level, *row)?,
                stride: i64::try_from(*stride).unwrap_or(i64::MAX),
                at: Positions::new(index, space)?,
                guard: guard.map(|g| self.at(level, g)).transpose()?,
            },
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
