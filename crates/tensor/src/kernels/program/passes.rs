//! What a rows kernel does in each walk over the reduced axes.

use gradus_graph::{Expr, ExprId, Program, Store};

use super::super::expr::id_of;
use super::reduce::Accumulator;
use super::rows::Rows;

/// All walks, and what is left for the end.
pub(super) struct Passes<'a> {
    pub(super) passes: Vec<Pass<'a>>,
    /// The stores that happen once for a row.
    pub(super) row_stores: Vec<&'a Store>,
}

/// What one walk does.
pub(super) struct Pass<'a> {
    /// What belongs to the row and is known before the walk.
    pub(super) of_row: Vec<ExprId>,
    /// What is reduced.
    pub(super) accumulators: Vec<Accumulator>,
    /// What is stored for every element of the row.
    pub(super) stores: Vec<&'a Store>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(program: &'a Program, rows: Rows) -> Self {
        let (full, passes) = (program.full(), program.passes());
        let is_full = |id: ExprId| full.get(id.index()) == Some(&true);
        let pass_of = |id: ExprId| passes.get(id.index()).copied().unwrap_or(0);
        let walks = |s: &&Store| is_full(s.value) || program.is_full_index(&s.index);
        let (stores, row_stores): (Vec<_>, Vec<_>) = program.stores.iter().partition(walks);

        let needed: Vec<_> = needed(program);
        let reductions: Vec<_> = needed
            .iter()
            .filter_map(|id| Some((pass_of(*id), Accumulator::of(program, *id, rows)?)))
            .collect();
        // A reduction of one pass is known in the next.
        let known = |id: ExprId| {
            pass_of(id) + usize::from(program.expr(id).is_some_and(Expr::is_reduction))
        };
        let last = reductions
            .iter()
            .map(|(pass, _)| *pass)
            .chain(stores.iter().map(|s| known(s.value)))
            .max();
        // What is updated in place is written last, after all that is computed from its old value.
        let pass_of_store = |s: &Store| match (reads(program, s.operand), last) {
            (true, Some(last)) => last,
            _ => known(s.value),
        };
        let pass = |number: usize| Pass {
            of_row: needed
                .iter()
                .copied()
                .filter(|id| !is_full(*id) && pass_of(*id) <= number)
                .filter(|id| !program.expr(*id).is_some_and(Expr::is_reduction))
                .collect(),
            accumulators: reductions
                .iter()
                .filter(|(pass, _)| *pass == number)
                .map(|(_, a)| *a)
                .collect(),
            stores: stores
                .iter()
                .copied()
                .filter(|s| pass_of_store(s) == number)
                .collect(),
        };
        Self {
            passes: (0..last.map_or(0, |last| last + 1)).map(pass).collect(),
            row_stores,
        }
    }
}

/// Whether the program reads an operand.
fn reads(program: &Program, operand: usize) -> bool {
    program.exprs.iter().any(|e| match e {
        Expr::Load { operand: o, .. } | Expr::LoadRow { operand: o, .. } => *o == operand,
        _ => false,
    })
}

/// The expressions that the stores need, in order.
fn needed(program: &Program) -> Vec<ExprId> {
    let mut needed = vec![false; program.exprs.len()];
    let mark = |needed: &mut Vec<bool>, id: ExprId| {
        if let Some(n) = needed.get_mut(id.index()) {
            *n = true;
        }
    };
    for store in &program.stores {
        mark(&mut needed, store.value);
    }
    for (i, expr) in program.exprs.iter().enumerate().rev() {
        if needed.get(i) == Some(&true) {
            for id in expr.uses() {
                mark(&mut needed, id);
            }
        }
    }
    let ids = needed.iter().enumerate().filter(|(_, n)| **n);
    ids.map(|(i, _)| id_of(i)).collect()
}
