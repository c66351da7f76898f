//! Rewrites the iteration axes of a program, so that what follows meets few and long ones.
//!
//! An axis that is only seen through `⌊i / d⌋` and `i mod d` is split in two, which removes the
//! divisions; axes of size 1 go; neighbours that every index runs through as one are joined. The
//! row-major order of positions stays what it was.

use gradus_graph::{Atom, Expr, Index, Program};

/// A last axis of fewer elements makes runs that are too short.
pub(super) const SHORT: usize = 5;

/// The same program over simpler axes. Without reductions, the last axis, or a few short
/// ones, count as reduced, if there is another one, so that what does not vary along it is computed
/// once for each row; unless `lines` lines of equal length would then not be whole numbers of rows.
pub(super) fn simplify(program: &Program, lines: usize) -> Program {
    let mut program = program.clone();
    if program.is_pointwise() {
        program.kept = program.axes.len();
    }
    while let Some((axis, d)) = splittable(&program) {
        program = split(&program, axis, d);
    }
    let mut program = join(&program);
    if program.is_pointwise() {
        program = lengthen(program, lines);
    }
    if program.is_pointwise() && program.axes.len() > 1 && program.kept == program.axes.len() {
        program.kept = program.axes.len() - 1;
        if !program.rows().is_multiple_of(lines.max(1)) {
            program.kept = program.axes.len();
        }
    }
    program
}

/// Every index of a program.
pub(super) fn indices(program: &Program) -> impl Iterator<Item = &Index> {
    let loads = program.exprs.iter().filter_map(Expr::index);
    loads.chain(program.stores.iter().map(|s| &s.index))
}

/// An axis and a divisor of its size by which some index divides it.
fn splittable(program: &Program) -> Option<(usize, usize)> {
    let find = |index: &Index| {
        index.terms().iter().find_map(|(atom, _)| {
            let (Atom::Div(inner, d) | Atom::Mod(inner, d)) = atom else {
                return None;
            };
            let [(Atom::Axis(axis), c)] = inner.terms() else {
                return None;
            };
            let (size, d) = (*program.axes.get(*axis)?, usize::try_from(*d).ok()?);
            let fits = *c == 1 && inner.offset() == 0 && d > 1 && d < size && size % d == 0;
            fits.then_some((*axis, d))
        })
    };
    indices(program).find_map(find)
}

/// Splits an axis in two, the inner one of size `d`.
fn split(program: &Program, axis: usize, d: usize) -> Program {
    let mut axes = program.axes.clone();
    if let Some(size) = axes.get_mut(axis) {
        *size /= d;
    }
    axes.insert(axis + 1, d);
    let step = i64::try_from(d).unwrap_or(i64::MAX);
    let old: Vec<Index> = (0..program.axes.len())
        .map(|i| match i.cmp(&axis) {
            std::cmp::Ordering::Less => Index::axis(i),
            std::cmp::Ordering::Equal => {
                Index::axis(axis).scaled(step).plus(&Index::axis(axis + 1))
            }
            std::cmp::Ordering::Greater => Index::axis(i + 1),
        })
        .collect();
    let kept = program.kept + usize::from(axis < program.kept);
    rewrite(program, &old, axes, kept)
}

/// Drops axes of size 1 and joins neighbours where possible.
fn join(program: &Program) -> Program {
    // For each axis of the result: its size and the old axis that is its innermost part.
    let mut groups: Vec<(usize, usize)> = Vec::new();
    let mut kept = 0;
    for (axis, &size) in program.axes.iter().enumerate() {
        if size == 1 {
            continue;
        }
        let same_kind = (groups.len() > kept) == (axis >= program.kept);
        match groups.last_mut() {
            Some((joined, inner))
                if same_kind
                    && indices(program).all(|index| runs_on(index, *inner, axis, size)) =>
            {
                *joined *= size;
                *inner = axis;
            }
            _ => groups.push((size, axis)),
        }
        if axis < program.kept {
            kept = groups.len();
        }
    }
    let old: Vec<Index> = (0..program.axes.len())
        .map(|axis| {
            let group = groups.iter().position(|(_, inner)| *inner == axis);
            group.map_or_else(Index::default, Index::axis)
        })
        .collect();
    let axes = groups.iter().map(|(size, _)| *size).collect();
    rewrite(program, &old, axes, kept)
}

/// True if the index goes through `outer` and then `inner`, of this size, as through one axis.
fn runs_on(index: &Index, outer: usize, inner: usize, size: usize) -> bool {
    let stride = |axis| {
        let own = index
            .terms()
            .iter()
            .find(|(atom, _)| *atom == Atom::Axis(axis));
        own.map_or(0, |(_, c)| *c)
    };
    let divided = index.terms().iter().any(|(atom, _)| match atom {
        Atom::Axis(_) => false,
        Atom::Div(x, _) | Atom::Mod(x, _) => x.uses(outer) || x.uses(inner),
    });
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    !divided && stride(inner).checked_mul(size) == Some(stride(outer))
}

/// Moves short axes behind all others: the last one, and those along which operands repeat, as
/// under the windows of a pool. They are then the columns, and rows make long runs. Pointwise
/// programs may run through their axes in any order, but lines must stay what they are.
fn lengthen(program: Program, lines: usize) -> Program {
    let count = program.axes.len();
    let repeats = |axis| {
        let loads = program
            .exprs
            .iter()
            .filter(|e| matches!(e, Expr::Load { .. }));
        loads.filter_map(Expr::index).any(|index| !index.uses(axis))
    };
    let is_short = |axis: usize| {
        let short = program.axes.get(axis).is_some_and(|n| *n < SHORT);
        short && axis > 0 && (axis + 1 == count || repeats(axis))
    };
    let (short, mut order): (Vec<usize>, Vec<usize>) = (0..count).partition(|a| is_short(*a));
    let whole = |first: &usize| {
        let lines_of: usize = program.axes.iter().take(*first).product();
        lines_of.is_multiple_of(lines.max(1))
    };
    if short.last() != Some(&(count.wrapping_sub(1))) || !short.first().is_some_and(whole) {
        return program;
    }
    let kept = order.len();
    order.extend(short);
    let sizes = order.iter().filter_map(|a| program.axes.get(*a)).copied();
    let new_place = |axis| order.iter().position(|a| *a == axis);
    let old: Vec<Index> = (0..count)
        .map(|axis| new_place(axis).map_or_else(Index::default, Index::axis))
        .collect();
    rewrite(&program, &old, sizes.collect(), kept)
}

/// The program over other axes, of which the old ones are these functions.
fn rewrite(program: &Program, old: &[Index], axes: Vec<usize>, kept: usize) -> Program {
    let mut new = program.clone();
    let place = |index: &mut Index| *index = index.substitute(old, &axes);
    for expr in &mut new.exprs {
        match expr {
            Expr::Load { index, .. }
            | Expr::LoadRow { index, .. }
            | Expr::Index(index)
            | Expr::InRange { index, .. }
            | Expr::Random { index, .. } => place(index),
            _ => {}
        }
    }
    for store in &mut new.stores {
        place(&mut store.index);
    }
    new.axes = axes;
    new.kept = kept;
    new
}
