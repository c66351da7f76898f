//! Checks a program against the operands it is given.

use gradus_graph::{Expr, Index, Program};

use crate::exec::memory::Place;

/// Checks that what is used is there, and that what is read and written without a guard lies
/// inside of its operand.
pub(super) fn check(program: &Program, places: &[Place]) -> Result<(), String> {
    if program.axes.contains(&0) {
        return Ok(());
    }
    let place = |operand: usize| {
        places
            .get(operand)
            .ok_or_else(|| format!("there is no operand {operand}"))
    };
    let inside = |operand: usize, index: &Index| {
        let len = place(operand)?.len;
        let (low, high) = index.range(&program.axes);
        match usize::try_from(high) {
            Ok(last) if low >= 0 && last < len => Ok(()),
            _ => Err(format!(
                "operand {operand} has {len} words but {low} ..= {high} are used"
            )),
        }
    };
    for (i, expr) in program.exprs.iter().enumerate() {
        if let Some(later) = expr.uses().iter().find(|x| x.index() >= i) {
            return Err(format!(
                "expression {i} uses the later expression {}",
                later.0
            ));
        }
        match expr {
            Expr::Load {
                operand,
                index,
                guard: None,
            } => inside(*operand, index)?,
            Expr::Load { operand, .. } | Expr::LoadRow { operand, .. } => {
                place(*operand)?;
            }
            Expr::Total { operand, count } if place(*operand)?.len < *count => {
                return Err(format!("operand {operand} has fewer than {count} elements"));
            }
            _ => {}
        }
    }
    for store in &program.stores {
        inside(store.operand, &store.index)?;
        if place(store.operand)?.written().is_none() {
            return Err(format!(
                "operand {} is stored to but only read",
                store.operand
            ));
        }
    }
    Ok(())
}
