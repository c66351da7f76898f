//! Programs: fused pointwise code and reductions, compiled to steps that run over tiles.
//!
//! A tile is some rows times some columns, and a register holds the values of one expression over
//! one tile. Each step is one loop over a register, so that the choice of the op is made once for
//! about a thousand elements, and everything between memory and memory stays in the nearest cache.

mod access;
mod axes;
mod check;
mod compile;
mod cut;
mod emit;
mod fold;
mod fuse;
mod machine;
mod positions;
mod registers;
mod run;
mod scratch;
mod sources;
mod space;
mod step;
mod tile;

use std::cell::RefCell;
use std::ops::Range;

use gradus_graph::Program;

use self::compile::Code;
pub(super) use self::cut::{Cut, cut_at, line_cuts};

use self::machine::Machine;
use self::scratch::Scratch;
use self::space::{Space, Tile};
use self::tile::Tiling;
use super::context::Context;
use super::memory::{Memory, Place};

/// Element-steps below which a program stays on one thread: a thirtieth of a millisecond or so.
const THREADS_FROM: usize = 3 << 17;
/// Element-steps that one thread takes at a time.
const TASK: usize = 1 << 17;

thread_local! {
    /// Shared by all programs, so that it stays in the cache.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A program, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    space: Space,
    tiling: Tiling,
    code: Code,
    places: Vec<Place>,
    /// Where each written buffer can be cut between rows, if all of them can.
    cuts: Option<Vec<Cut>>,
    /// Steps for each row.
    cost: usize,
}

impl Compiled {
    /// Compiles a program whose operands lie at these places.
    ///
    /// # Errors
    /// If it is malformed or reaches outside of its operands.
    pub(super) fn new(program: &Program, places: &[Place]) -> Result<Self, String> {
        Self::for_lines(program, places, 1)
    }

    /// As [`Compiled::new`], of a program whose space is a sequence of lines of equal length. Each
    /// line is then a whole number of rows.
    ///
    /// # Errors
    /// As for [`Compiled::new`].
    pub(super) fn for_lines(
        program: &Program,
        places: &[Place],
        lines: usize,
    ) -> Result<Self, String> {
        check::check(program, places)?;
        let program = axes::simplify(program, lines);
        let space = Space::new(&program);
        let tiling = Tiling::new(&program, &space);
        let code = compile::compile(&program, &space, &tiling)?;
        let phases = code.phases.iter();
        let steps = phases.map(|phase| phase.cost(tiling.order));
        let rows = code.phases.iter().map(|p| p.rows.len()).sum::<usize>() + code.tail.len();
        let cost = space.cols() * steps.sum::<usize>() + rows;
        let cuts = cut::cuts(&program, places);
        Ok(Self {
            space,
            tiling,
            code,
            places: places.to_vec(),
            cuts,
            cost,
        })
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.space.rows()
    }

    /// Computes some rows.
    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>, rows: Range<usize>) {
        let whole = rows.len().saturating_mul(self.cost);
        match &self.cuts {
            Some(cuts) if context.threads && whole >= THREADS_FROM => {
                // Whole tiles; a row's values do not depend on the tile it is in.
                let task = (TASK / self.cost.max(1))
                    .max(1)
                    .next_multiple_of(self.tiling.rows);
                let task = cuts
                    .iter()
                    .fold(task, |t, cut| t.next_multiple_of(cut.rows));
                self.fork(context, memory, rows, task, cuts);
            }
            _ => self.run_here(context, memory, rows),
        }
    }

    /// Halves the rows until they are few enough for one task.
    fn fork(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        rows: Range<usize>,
        task: usize,
        cuts: &[Cut],
    ) {
        if rows.len() <= task {
            return self.run_here(context, memory, rows);
        }
        // A multiple, wherever the rows begin: buffers are cut nowhere else.
        let middle = (rows.start + rows.len() / 2).next_multiple_of(task);
        if middle >= rows.end {
            return self.run_here(context, memory, rows);
        }
        let (mut left, mut right) = memory.split(&cut_at(cuts, middle));
        rayon::join(
            || self.fork(context, &mut left, rows.start..middle, task, cuts),
            || self.fork(context, &mut right, middle..rows.end, task, cuts),
        );
    }

    fn run_here(&self, context: Context<'_>, memory: &mut Memory<'_>, rows: Range<usize>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let block = self.tiling.rows * self.tiling.cols;
            let folds = self.code.phases.iter().map(|p| p.folds.len()).max();
            scratch.prepare(self.code.registers, block, folds.unwrap_or(0));
            let places = &self.places;
            let mut machine = Machine {
                places,
                context,
                memory,
                scratch,
            };
            let order = self.tiling.order;
            machine.steps(
                &self.code.uniform,
                &Tile {
                    rows: 0..1,
                    cols: 0..1,
                    order,
                },
            );
            for start in rows.clone().step_by(self.tiling.rows.max(1)) {
                let end = rows.end.min(start + self.tiling.rows);
                self.run_rows(&mut machine, start..end);
            }
        });
    }

    fn run_rows(&self, machine: &mut Machine<'_, '_>, rows: Range<usize>) {
        let order = self.tiling.order;
        let whole = Tile {
            rows: rows.clone(),
            cols: 0..1,
            order,
        };
        let only_rows = whole.only_rows();
        for phase in &self.code.phases {
            machine.steps(&phase.rows, &only_rows);
            if phase.skips_columns() {
                continue;
            }
            machine.start_folds(&phase.folds, rows.len());
            for start in (0..self.space.cols()).step_by(self.tiling.cols.max(1)) {
                let end = self.space.cols().min(start + self.tiling.cols);
                let tile = Tile {
                    rows: rows.clone(),
                    cols: start..end,
                    order,
                };
                machine.steps(&phase.full, &tile);
                machine.add_folds(&phase.folds, &tile);
                machine.writes(&phase.writes, &tile);
            }
            machine.finish_folds(&phase.folds, rows.len());
        }
        machine.writes(&self.code.tail, &only_rows);
    }
}
