//! Symbolic indices as WGSL.
//!
//! Positions are `u32` and wrap: a sum with negative terms is right as soon as its value is not
//! negative, which holds wherever memory is read.

use gradus_graph::{Atom, Index};

/// An index as a `u32` expression, for axes with these names and sizes.
pub(super) fn text(index: &Index, axes: &[String], sizes: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (atom, c) in index.terms() {
        let value = atom_text(atom, axes, sizes);
        let size = c.unsigned_abs();
        let sign = if *c < 0 { "- " } else { "+ " };
        let sign = if parts.is_empty() && *c > 0 { "" } else { sign };
        let zero = if parts.is_empty() && *c < 0 {
            "0u "
        } else {
            ""
        };
        parts.push(match size {
            1 => format!("{zero}{sign}{value}"),
            _ => format!("{zero}{sign}{value} * {}", constant(c.abs())),
        });
    }
    if index.offset() != 0 || parts.is_empty() {
        let sign = if parts.is_empty() { "" } else { "+ " };
        parts.push(format!("{sign}{}", constant(index.offset())));
    }
    match parts.as_slice() {
        [one] if !one.contains(' ') => one.clone(),
        _ => format!("({})", parts.join(" ")),
    }
}

/// A number modulo 2³².
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions wrap"
)]
fn constant(v: i64) -> String {
    format!("{}u", v as u32)
}

fn atom_text(atom: &Atom, axes: &[String], sizes: &[usize]) -> String {
    match atom {
        Atom::Axis(i) => axes.get(*i).cloned().unwrap_or_else(|| "0u".to_owned()),
        Atom::Div(x, n) => {
            // Unsigned division rounds down only above zero: move up by whole multiples, and back.
            let lift = lift(x, *n, sizes);
            let x = text(&x.shifted(lift * n), axes, sizes);
            match lift {
                0 => format!("({x} / {n}u)"),
                _ => format!("({x} / {n}u - {lift}u)"),
            }
        }
        Atom::Mod(x, n) => {
            let x = text(&x.shifted(lift(x, *n, sizes) * n), axes, sizes);
            format!("({x} % {n}u)")
        }
    }
}

/// How many multiples of `n` keep the index from being negative.
fn lift(x: &Index, n: i64, sizes: &[usize]) -> i64 {
    let (low, _) = x.range(sizes);
    if low >= 0 { 0 } else { -low.div_euclid(n) }
}

/// Whether the four positions `lane = 4i..4i + 4` are four neighbours that start at a multiple of
/// four, for every position on the other axes.
pub(super) fn is_quad(index: &Index, lane: usize) -> bool {
    let moving = index.terms().iter().filter(|(a, _)| moves_with(a, lane));
    index.offset() % 4 == 0
        && moving.count() == 1
        && index.terms().iter().all(|(atom, c)| {
            if moves_with(atom, lane) {
                *c == 1
            } else {
                c % 4 == 0 && rests_with(atom, lane)
            }
        })
}

/// A quarter of an index that is a quad, in terms of a quarter of the lane axis: where only whole
/// axes are summed, the division can be done beforehand.
pub(super) fn quarter(index: &Index) -> Option<Index> {
    let start = Index::constant(index.offset() / 4);
    index.terms().iter().try_fold(start, |sum, (atom, c)| {
        let Atom::Axis(axis) = atom else { return None };
        let c = if *c == 1 { 1 } else { c / 4 };
        Some(sum.plus(&Index::axis(*axis).scaled(c)))
    })
}

/// Whether the four positions `lane = 4i..4i + 4` are all the same.
pub(super) fn is_constant(index: &Index, lane: usize) -> bool {
    index.terms().iter().all(|(atom, _)| rests_with(atom, lane))
}

/// Whether the atom counts up by one along a quad, from a multiple of four.
fn moves_with(atom: &Atom, lane: usize) -> bool {
    match atom {
        Atom::Axis(i) => *i == lane,
        Atom::Div(..) => false,
        Atom::Mod(x, n) => n % 4 == 0 && is_quad(x, lane),
    }
}

/// Whether the atom stays the same along a quad.
fn rests_with(atom: &Atom, lane: usize) -> bool {
    match atom {
        Atom::Axis(i) => *i != lane,
        Atom::Div(x, n) => !x.uses(lane) || (n % 4 == 0 && is_quad(x, lane)),
        Atom::Mod(x, _) => !x.uses(lane),
    }
}
