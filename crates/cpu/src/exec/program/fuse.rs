//! Joins pairs of steps: a product and a sum in one loop, instead of two with a register between.
//!
//! Both results are rounded, as they would be apart, so that fusing changes no bit.

use std::collections::{BTreeMap, BTreeSet};

use gradus_graph::DType;
use gradus_graph::ops::{Binary, Unary};

use super::compile::Code;
use super::step::{Register, Source, Step, Work};
use crate::exec::simd::is_fused;

/// Joins what can be joined in code that still has one register for each value.
pub(super) fn fuse(code: &mut Code) {
    // Before uses are counted: a square uses its argument once, a product of two twice.
    for phase in &mut code.phases {
        let steps = phase.rows.iter_mut().chain(&mut phase.full);
        steps.for_each(square_as_product);
    }
    let uses = uses(code);
    let lists = code
        .phases
        .iter_mut()
        .flat_map(|p| [&mut p.rows, &mut p.full]);
    lists.for_each(|steps| fuse_list(steps, &uses));
}

fn square_as_product(step: &mut Step) {
    if let Work::Unary(Unary::Square, DType::F32, x) = step.work {
        step.work = Work::Binary(Binary::Mul, DType::F32, x, x);
    }
}

/// How often each value is used.
fn uses(code: &mut Code) -> BTreeMap<Register, usize> {
    let mut uses = BTreeMap::new();
    let mut note = |source: &mut Source| {
        if let Source::Block(value) | Source::First(value) = source {
            *uses.entry(*value).or_insert(0) += 1;
        }
    };
    for phase in &mut code.phases {
        let steps = phase.rows.iter_mut().chain(&mut phase.full);
        steps.for_each(|s| s.work.sources(&mut note));
        phase.folds.iter_mut().for_each(|f| note(&mut f.x));
        phase.writes.iter_mut().for_each(|w| note(&mut w.value));
    }
    code.tail.iter_mut().for_each(|w| note(&mut w.value));
    uses
}

fn fuse_list(steps: &mut Vec<Step>, uses: &BTreeMap<Register, usize>) {
    // Steps of this list that only one other uses.
    let mut open: BTreeMap<Register, (Binary, Source, Source)> = BTreeMap::new();
    let mut joined: BTreeSet<Register> = BTreeSet::new();
    for step in steps.iter_mut() {
        let Work::Binary(outer, DType::F32, x, y) = step.work else {
            continue;
        };
        let inner = |source: Source| match source {
            Source::Block(value) => {
                let (op, a, b) = open.get(&value).copied()?;
                is_fused(op, outer).then_some((value, op, a, b))
            }
            _ => None,
        };
        let first = inner(x).map(|found| (found, y, false));
        if let Some(((value, inner, a, b), c, flipped)) =
            first.or_else(|| inner(y).map(|found| (found, x, true)))
        {
            joined.insert(value);
            step.work = Work::Fused {
                ops: [inner, outer],
                flipped,
                args: [a, b, c],
            };
        } else if uses.get(&step.dst) == Some(&1) {
            open.insert(step.dst, (outer, x, y));
        }
    }
    steps.retain(|step| !joined.contains(&step.dst));
}
