//! The instructions that a program is compiled to.

use gradus_graph::DType;
use gradus_graph::ops::{Binary, Reduction, Unary};

use super::positions::Positions;
use super::space::Order;

/// A block of scratch memory that holds the values of one expression over one tile.
pub(super) type Register = usize;

/// Where a value is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the instruction.
    Const(u32),
    /// In a register, one for each element.
    Block(Register),
    /// First in a register, the same for every element.
    First(Register),
}

/// How often a value is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Once.
    Uniform,
    /// Once for each row.
    Row,
    /// For every row and column.
    Full,
}

/// Computes one expression over a tile.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) dst: Register,
    pub(super) work: Work,
}

/// What a [`Step`] does. `operand` is an index into the places of the kernel's operands.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Load {
        operand: usize,
        at: Positions,
        guard: Option<Source>,
        /// The memory may be overwritten while the value is still needed.
        copy: bool,
    },
    LoadRow {
        operand: usize,
        row: Source,
        /// Does the source have one value for each row of the tile?
        by_row: bool,
        stride: i64,
        at: Positions,
        guard: Option<Source>,
    },
    Index(Positions),
    InRange {
        at: Positions,
        low: i64,
        high: i64,
    },
    Random {
        stream: u64,
        at: Positions,
    },
    StepWord(usize),
    Total {
        operand: usize,
        count: usize,
        dtype: DType,
    },
    Unary(Unary, DType, Source),
    Binary(Binary, DType, Source, Source),
    /// `(a ∘ b) • c` for these two ops, or `c • (a ∘ b)` if flipped.
    Fused {
        ops: [Binary; 2],
        flipped: bool,
        args: [Source; 3],
    },
    Select(Source, Source, Source),
    Cast {
        from: DType,
        to: DType,
        x: Source,
    },
    Check {
        bound: u32,
        site: usize,
        x: Source,
    },
    /// A value for each row, repeated for every column.
    Spread(Source),
}

/// A reduction over the columns.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) op: Reduction,
    pub(super) dtype: DType,
    pub(super) x: Source,
    /// Where the result goes, if it is wanted.
    pub(super) value: Option<Register>,
    /// Where the first position of the extreme goes, if it is wanted.
    pub(super) position: Option<Register>,
}

/// Writes a value.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) operand: usize,
    pub(super) at: Positions,
    pub(super) value: Source,
}

/// One pass over the columns of some rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase {
    /// Before it, for each row.
    pub(super) rows: Vec<Step>,
    /// For each tile.
    pub(super) full: Vec<Step>,
    /// For each tile, after `full`; the results are there after the last tile.
    pub(super) folds: Vec<Fold>,
    /// For each tile, after `full`.
    pub(super) writes: Vec<Write>,
}

/// Steps that moving an element takes as long as, if its neighbours are a few elements apart in
/// memory, or many.
const NEAR: usize = 4;
const SCATTERED: usize = 8;

impl Phase {
    /// How many steps each element takes, about.
    pub(super) fn cost(&self, order: Order) -> usize {
        let moved = |at: &Positions| {
            let along = at.inner_strides().map(|(row, col)| match order {
                Order::RowMajor => col,
                Order::ColMajor => row,
            });
            match along {
                Some(0 | 1) => 1,
                Some(2..=4) => NEAR,
                _ => SCATTERED,
            }
        };
        let full = self.full.iter().map(|step| match &step.work {
            Work::Load { at, .. } | Work::LoadRow { at, .. } => moved(at),
            _ => 1,
        });
        let writes = self.writes.iter().map(|write| moved(&write.at));
        full.chain(writes).sum::<usize>() + self.folds.len()
    }

    /// True if there is nothing to do for the columns.
    pub(super) fn skips_columns(&self) -> bool {
        self.full.is_empty() && self.folds.is_empty() && self.writes.is_empty()
    }
}

impl Work {
    /// Calls `f` with every source.
    pub(super) fn sources(&mut self, mut f: impl FnMut(&mut Source)) {
        match self {
            Self::Load { guard, .. } => guard.iter_mut().for_each(f),
            Self::LoadRow { row, guard, .. } => {
                f(row);
                guard.iter_mut().for_each(f);
            }
            Self::Unary(_, _, x)
            | Self::Cast { x, .. }
            | Self::Check { x, .. }
            | Self::Spread(x) => f(x),
            Self::Binary(_, _, a, b) => {
                f(a);
                f(b);
            }
            Self::Select(c, a, b) => {
                f(c);
                f(a);
                f(b);
            }
            Self::Fused { args, .. } => args.iter_mut().for_each(f),
            Self::Index(_)
            | Self::InRange { .. }
            | Self::Random { .. }
            | Self::StepWord(_)
            | Self::Total { .. } => {}
        }
    }
}
