//! A fused region as a scalar program over an iteration space.

use crate::ops::{Binary, Reduction, Unary};
use crate::{DType, Index, Scalar};

/// An expression of a [`Program`]: an index into [`Program::exprs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub u32);

impl ExprId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one kernel computes, element by element.
///
/// The iteration axes are the *kept* ones, then the *reduced* ones. An expression is *full* if it
/// varies along a reduced axis, otherwise it is computed once for each position on the kept
/// axes, a *row*. Reductions run over all reduced axes. Expressions only use earlier ones.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// Sizes of the iteration axes.
    pub axes: Vec<usize>,
    /// How many of them, from the first, are kept.
    pub kept: usize,
    /// The expressions, in an order in which they can be computed.
    pub exprs: Vec<Expr>,
    /// The dtype of each expression.
    pub dtypes: Vec<DType>,
    /// What is written.
    pub stores: Vec<Store>,
}

/// One scalar expression. `operand` is an index into the kernel's operands; positions are in
/// elements of that operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A constant.
    Const(Scalar),
    /// An element of an operand. Where `guard` does not hold nothing is read and the value is 0.
    Load {
        /// The operand.
        operand: usize,
        /// The element.
        index: Index,
        /// A bool expression.
        guard: Option<ExprId>,
    },
    /// The element `row · stride + index` of an operand, `row` being a checked index.
    LoadRow {
        /// The operand.
        operand: usize,
        /// The row: an integer expression.
        row: ExprId,
        /// Elements from one row to the next.
        stride: usize,
        /// The element within the row.
        index: Index,
        /// A bool expression.
        guard: Option<ExprId>,
    },
    /// A position, `i32`.
    Index(Index),
    /// `low ≤ index < high`
    InRange {
        /// The position.
        index: Index,
        /// The first that is in range.
        low: i64,
        /// The first above.
        high: i64,
    },
    /// The random word (`u32`) of an element; see [`crate::philox`].
    Random {
        /// The stream.
        stream: u64,
        /// The element.
        index: Index,
    },
    /// A word of the step row as `f32`.
    StepWord(u32),
    /// The sum, in order, of the first `count` elements of an operand: a scalar for the kernel.
    Total {
        /// The operand.
        operand: usize,
        /// How many elements.
        count: usize,
    },
    /// The accumulator: an element of the product that this program is the epilogue of.
    Accumulator,
    /// A pointwise op of one argument.
    Unary(Unary, ExprId),
    /// A pointwise op of two arguments.
    Binary(Binary, ExprId, ExprId),
    /// Condition, then, otherwise.
    Select(ExprId, ExprId, ExprId),
    /// Conversion to this expression's dtype.
    Cast(ExprId),
    /// The index if it lies in `0..bound`; otherwise 0, and its bits are recorded by `max` in
    /// this site's error word.
    CheckIndex {
        /// One past the largest allowed index.
        bound: u32,
        /// The error word.
        site: usize,
        /// The index.
        x: ExprId,
    },
    /// Reduction over the reduced axes: a row expression.
    Reduce(Reduction, ExprId),
    /// The first position, among the reduced axes in row-major order, of the extreme: `i32`.
    ArgReduce(Reduction, ExprId),
}

/// A value that is written to memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The operand.
    pub operand: usize,
    /// The element.
    pub index: Index,
    /// The value.
    pub value: ExprId,
}

impl Expr {
    /// The expressions this one uses.
    pub fn uses(&self) -> Vec<ExprId> {
        match self {
            Self::Const(_)
            | Self::Index(_)
            | Self::InRange { .. }
            | Self::Random { .. }
            | Self::StepWord(_)
            | Self::Total { .. }
            | Self::Accumulator => Vec::new(),
            Self::Load { guard, .. } => guard.iter().copied().collect(),
            Self::LoadRow { row, guard, .. } => {
                std::iter::once(*row).chain(guard.iter().copied()).collect()
            }
            Self::Unary(_, x)
            | Self::Cast(x)
            | Self::CheckIndex { x, .. }
            | Self::Reduce(_, x)
            | Self::ArgReduce(_, x) => vec![*x],
            Self::Binary(_, a, b) => vec![*a, *b],
            Self::Select(c, a, b) => vec![*c, *a, *b],
        }
    }

    /// The operand this expression reads.
    pub const fn operand(&self) -> Option<usize> {
        match self {
            Self::Load { operand, .. }
            | Self::LoadRow { operand, .. }
            | Self::Total { operand, .. } => Some(*operand),
            _ => None,
        }
    }

    /// The position this expression reads at or stands for.
    pub fn index(&self) -> Option<&Index> {
        match self {
            Self::Load { index, .. }
            | Self::LoadRow { index, .. }
            | Self::Index(index)
            | Self::InRange { index, .. }
            | Self::Random { index, .. } => Some(index),
            _ => None,
        }
    }

    /// True for reductions.
    pub const fn is_reduction(&self) -> bool {
        matches!(self, Self::Reduce(..) | Self::ArgReduce(..))
    }
}

impl Program {
    /// An expression.
    pub fn expr(&self, id: ExprId) -> Option<&Expr> {
        self.exprs.get(id.index())
    }

    /// Number of positions on the kept axes.
    pub fn rows(&self) -> usize {
        self.axes.iter().take(self.kept).product()
    }

    /// Number of positions on the reduced axes.
    pub fn cols(&self) -> usize {
        self.axes.iter().skip(self.kept).product()
    }

    /// True if there is nothing to reduce.
    pub fn is_pointwise(&self) -> bool {
        !self.exprs.iter().any(Expr::is_reduction)
    }

    /// For each expression: does it vary along a reduced axis?
    pub fn full(&self) -> Vec<bool> {
        let mut full: Vec<bool> = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            let own = expr.index().is_some_and(|index| self.is_full_index(index));
            let used = expr
                .uses()
                .iter()
                .any(|x| full.get(x.index()) == Some(&true));
            full.push(!expr.is_reduction() && (own || used));
        }
        full
    }

    /// True if the index varies along a reduced axis.
    pub fn is_full_index(&self, index: &Index) -> bool {
        (self.kept..self.axes.len()).any(|axis| index.uses(axis))
    }

    /// For each expression: the first pass over the reduced axes in which it can be computed.
    /// A reduction of pass `p` is known from pass `p + 1` on.
    pub fn passes(&self) -> Vec<usize> {
        let mut passes: Vec<usize> = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            let pass = expr
                .uses()
                .iter()
                .map(|x| {
                    let known = self.expr(*x).is_some_and(Expr::is_reduction);
                    passes.get(x.index()).copied().unwrap_or(0) + usize::from(known)
                })
                .max();
            passes.push(pass.unwrap_or(0));
        }
        passes
    }
}
