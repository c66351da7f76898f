//! Gives every value a register, and the same one to values that are not alive together, so that
//! a tile's registers stay in the nearest cache.

use std::collections::BTreeSet;

use super::step::{Phase, Register, Source, Step, Write};

/// Renames the registers of compiled code, which has one for each value, and returns how many
/// there are then.
pub(super) fn assign(uniform: &mut [Step], phases: &mut [Phase], tail: &mut [Write]) -> usize {
    let dying = deaths(uniform, phases, tail);
    let mut registers: Vec<Option<Register>> = Vec::new();
    let mut free: Vec<Register> = Vec::new();
    let (mut now, mut count) = (0, 0);
    walk(uniform, phases, tail, |event| match event {
        Event::Use(value) => *value = registers.get(*value).copied().flatten().unwrap_or(0),
        Event::Define(value) => {
            let register = free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            *entry(&mut registers, *value) = Some(register);
            *value = register;
        }
        Event::Next | Event::Leave => {
            let dead = dying.get(now).into_iter().flatten();
            free.extend(dead.filter_map(|value| registers.get(*value).copied().flatten()));
            now += 1;
        }
        Event::Begin | Event::Enter => {}
    });
    count
}

/// What there is to see in code, in the order in which it runs.
enum Event<'a> {
    Use(&'a mut Register),
    Define(&'a mut Register),
    /// The end of an instruction: its result may not replace its sources, which are read meanwhile.
    Next,
    /// The end of what is computed once.
    Begin,
    /// The start of what is repeated for every tile.
    Enter,
    /// Its end.
    Leave,
}

fn walk(
    uniform: &mut [Step],
    phases: &mut [Phase],
    tail: &mut [Write],
    mut see: impl FnMut(Event<'_>),
) {
    uniform.iter_mut().for_each(|s| walk_step(s, &mut see));
    see(Event::Begin);
    for phase in phases {
        phase.rows.iter_mut().for_each(|s| walk_step(s, &mut see));
        see(Event::Enter);
        phase.full.iter_mut().for_each(|s| walk_step(s, &mut see));
        phase
            .folds
            .iter_mut()
            .for_each(|f| walk_source(&mut f.x, &mut see));
        phase
            .writes
            .iter_mut()
            .for_each(|w| walk_source(&mut w.value, &mut see));
        see(Event::Leave);
        let results = phase.folds.iter_mut();
        results
            .flat_map(|f| f.value.iter_mut().chain(&mut f.position))
            .for_each(|dst| see(Event::Define(dst)));
    }
    for write in tail {
        walk_source(&mut write.value, &mut see);
        see(Event::Next);
    }
}

fn walk_step(step: &mut Step, see: &mut impl FnMut(Event<'_>)) {
    step.work.sources(|x| walk_source(x, see));
    see(Event::Define(&mut step.dst));
    see(Event::Next);
}

fn walk_source(source: &mut Source, see: &mut impl FnMut(Event<'_>)) {
    if let Source::Block(value) | Source::First(value) = source {
        see(Event::Use(value));
    }
}

/// For each instruction, the values that no later one uses. What is computed once never dies, and
/// what comes from outside of a repeated part lives to its end.
fn deaths(uniform: &mut [Step], phases: &mut [Phase], tail: &mut [Write]) -> Vec<Vec<Register>> {
    const NEVER: Option<usize> = Some(usize::MAX);
    let mut last: Vec<Option<usize>> = Vec::new();
    // What was defined since the code began or the repeated part was entered.
    let mut defined: BTreeSet<Register> = BTreeSet::new();
    let mut outer: Vec<Register> = Vec::new();
    let (mut inside, mut now) = (false, 0);
    walk(uniform, phases, tail, |event| match event {
        Event::Use(value) => {
            let last = entry(&mut last, *value);
            if *last != NEVER {
                *last = Some(now);
                if inside && !defined.contains(value) {
                    outer.push(*value);
                }
            }
        }
        Event::Define(value) => {
            defined.insert(*value);
        }
        Event::Next => now += 1,
        Event::Begin => {
            for value in std::mem::take(&mut defined) {
                *entry(&mut last, value) = NEVER;
            }
        }
        Event::Enter => {
            defined.clear();
            inside = true;
        }
        Event::Leave => {
            for value in outer.drain(..) {
                *entry(&mut last, value) = Some(now);
            }
            inside = false;
            now += 1;
        }
    });
    let mut dying = vec![Vec::new(); now];
    for (value, at) in last.into_iter().enumerate() {
        if let Some(list) = at.and_then(|at| dying.get_mut(at)) {
            list.push(value);
        }
    }
    dying
}

fn entry<T>(list: &mut Vec<Option<T>>, at: usize) -> &mut Option<T> {
    while list.len() <= at {
        list.push(None);
    }
    &mut list[at]
}
