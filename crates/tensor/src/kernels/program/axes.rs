//! The iteration axes of a program: fewer of them, and where a position lies on each.

use gradus_graph::{Atom, Expr, Index, Program};

use super::super::expr::Axis;
use super::super::{ShaderError, Writer, small};

/// The program over as few axes as possible: axes of size 1 go, and neighbours that every index
/// walks as if they were one become one.
pub fn simplified(program: &Program) -> Program {
    let mut program = program.clone();
    while let Some(axis) = program.axes.iter().position(|n| *n == 1) {
        program = without(&program, axis);
    }
    let mut axis = 0;
    while axis < program.axes.len() {
        match merged(&program, axis) {
            Some(merged) => program = merged,
            None => axis += 1,
        }
    }
    program
}

/// Writes the position on each of these axes, named `{name}{axis}`, for `position` counted in
/// row-major order. With `quads`, the last axis is counted in fours.
pub(crate) fn unravel(
    out: &mut Writer,
    name: &str,
    position: &str,
    sizes: &[usize],
    quads: bool,
) -> Result<Vec<Axis>, ShaderError> {
    let last = sizes.len().saturating_sub(1);
    let mut axes = Vec::new();
    let mut below = 1;
    for (axis, &size) in sizes.iter().enumerate().rev() {
        let is_quad = quads && axis == last;
        let size = small(size)? / if is_quad { 4 } else { 1 };
        let mut text = position.to_owned();
        if below > 1 {
            text = format!("{text} / {below}u");
        }
        if axis > 0 {
            text = format!("{text} % {size}u");
        }
        let mut new = Axis::new(format!("{name}{axis}"));
        if is_quad {
            let quad = format!("{name}{axis}_quad");
            out.line(format_args!("let {quad} = {text};"));
            text = format!("{quad} * 4u");
            new.quad = Some(quad);
        }
        out.line(format_args!("let {} = {text};", new.text));
        axes.push(new);
        below *= size.max(1);
    }
    axes.reverse();
    Ok(axes)
}

/// The program with this axis, of size 1, gone.
fn without(program: &Program, axis: usize) -> Program {
    let mut sizes = program.axes.clone();
    sizes.remove(axis);
    let places = (0..program.axes.len())
        .map(|i| match i {
            _ if i == axis => Index::default(),
            _ if i > axis => Index::axis(i - 1),
            _ => Index::axis(i),
        })
        .collect::<Vec<_>>();
    let kept = program.kept - usize::from(axis < program.kept);
    replaced(program, &places, sizes, kept)
}

/// The program with this axis and the next one joined, if that adds no division to any index.
fn merged(program: &Program, axis: usize) -> Option<Program> {
    let next = *program.axes.get(axis + 1)?;
    if axis + 1 == program.kept {
        return None;
    }
    let mut sizes = program.axes.clone();
    sizes.remove(axis + 1);
    let joined = sizes.get_mut(axis)?;
    *joined = joined.checked_mul(next)?;
    let divisor = i64::try_from(next).ok()?;
    let places = (0..program.axes.len())
        .map(|i| match i {
            _ if i == axis => Index::axis(axis).div(divisor, &sizes),
            _ if i == axis + 1 => Index::axis(axis).rem(divisor, &sizes),
            _ if i > axis => Index::axis(i - 1),
            _ => Index::axis(i),
        })
        .collect::<Vec<_>>();
    let kept = program.kept - usize::from(axis < program.kept);
    let merged = replaced(program, &places, sizes, kept);
    let divisions = |p: &Program| indices(p).map(divisions).collect::<Vec<_>>();
    let (before, after) = (divisions(program), divisions(&merged));
    before
        .iter()
        .zip(&after)
        .all(|(b, a)| a <= b)
        .then_some(merged)
}

fn indices(program: &Program) -> impl Iterator<Item = &Index> {
    let exprs = program.exprs.iter().filter_map(Expr::index);
    exprs.chain(program.stores.iter().map(|s| &s.index))
}

/// How many divisions and remainders an index takes.
fn divisions(index: &Index) -> usize {
    let parts = index.terms().iter().map(|(atom, _)| match atom {
        Atom::Axis(_) => 0,
        Atom::Div(x, _) | Atom::Mod(x, _) => 1 + divisions(x),
    });
    parts.sum()
}

/// The program over other axes, given what each old axis is in terms of the new ones.
fn replaced(program: &Program, places: &[Index], sizes: Vec<usize>, kept: usize) -> Program {
    let mut new = program.clone();
    for expr in &mut new.exprs {
        match expr {
            Expr::Load { index, .. }
            | Expr::LoadRow { index, .. }
            | Expr::Index(index)
            | Expr::InRange { index, .. }
            | Expr::Random { index, .. } => *index = index.substitute(places, &sizes),
            _ => {}
        }
    }
    for store in &mut new.stores {
        store.index = store.index.substitute(places, &sizes);
    }
    Program {
        axes: sizes,
        kept,
        ..new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(index: Index) -> Program {
        Program {
            axes: vec![2, 3, 1, 4],
            kept: 4,
            exprs: vec![Expr::Load {
                operand: 0,
                index,
                guard: None,
            }],
            ..Program::default()
        }
    }

    #[test]
    fn contiguous_axes_become_one() {
        let axes: Vec<_> = (0..4).map(Index::axis).collect();
        let flat = simplified(&load(Index::linear(&axes, &[2, 3, 1, 4])));
        assert_eq!(flat.axes, [24]);
        assert_eq!(flat.kept, 1);
        assert_eq!(flat.exprs[0].index().unwrap().to_string(), "i0");
    }

    #[test]
    fn a_transposed_axis_stays() {
        let axes: Vec<_> = [3, 0, 1].map(Index::axis).into();
        let program = simplified(&load(Index::linear(&axes, &[4, 2, 3])));
        assert_eq!(program.axes, [6, 4]);
        assert_eq!(program.exprs[0].index().unwrap().to_string(), "i0 + 6*i1");
    }
}
