//! Finds where written buffers can be cut, so that several threads can each write a part.

use gradus_graph::{Expr, Index, Program};

use super::axes;
use crate::exec::memory::{MAX_WRITTEN, Place};

/// Where a written buffer can be cut: before the words of every row, or of every few rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) struct Cut {
    /// The operand.
    pub(super) place: Place,
    /// Words from its start to those of the first row.
    pub(super) offset: usize,
    /// Rows that are only apart from others together, at least 1.
    pub(super) rows: usize,
    /// Words of so many rows, at least 1.
    pub(super) pitch: usize,
}

/// The words at which the buffers are cut before a row: the first of those that are cut together.
pub(in crate::exec) fn cut_at(cuts: &[Cut], row: usize) -> [usize; MAX_WRITTEN] {
    let mut at = [0; MAX_WRITTEN];
    for (at, cut) in at.iter_mut().zip(cuts) {
        *at = cut.place.start + cut.offset + row / cut.rows * cut.pitch;
    }
    at
}

/// As [`cuts`], between lines: as many of equal length as the program's space is a sequence of.
pub(in crate::exec) fn line_cuts(
    program: &Program,
    places: &[Place],
    lines: usize,
) -> Option<Vec<Cut>> {
    let program = axes::simplify(program, lines);
    let rows = program.rows() / lines.max(1);
    let mut cuts = cuts(&program, places)?;
    for cut in &mut cuts {
        if !rows.is_multiple_of(cut.rows) {
            return None;
        }
        cut.pitch *= rows / cut.rows;
        cut.rows = 1;
    }
    Some(cuts)
}

/// The cuts of all written buffers, in their order. `None` if the rows of one of them are not
/// apart, or are read by other rows.
pub(super) fn cuts(program: &Program, places: &[Place]) -> Option<Vec<Cut>> {
    let written = |operand: usize| places.get(operand).and_then(|p| p.written());
    let count = places.iter().filter_map(|p| p.written()).max()? + 1;
    let cuts: Option<Vec<Cut>> = (0..count)
        .map(|i| {
            let mut stores = program
                .stores
                .iter()
                .filter(|s| written(s.operand) == Some(i));
            let (store, None) = (stores.next()?, stores.next()) else {
                return None;
            };
            let private = program.exprs.iter().all(|expr| match expr {
                Expr::Load { operand, index, .. } => {
                    written(*operand) != Some(i)
                        || (*operand == store.operand && *index == store.index)
                }
                Expr::LoadRow { operand, .. } | Expr::Total { operand, .. } => {
                    written(*operand) != Some(i)
                }
                _ => true,
            });
            let (offset, rows, pitch) = apart(program, &store.index)?;
            let place = *places.get(store.operand)?;
            private.then_some(Cut {
                place,
                offset,
                rows,
                pitch,
            })
        })
        .collect();
    cuts
}

/// Offset, rows and pitch if every position on the first kept axis has a range of its own and these
/// follow each other.
fn apart(program: &Program, index: &Index) -> Option<(usize, usize, usize)> {
    let strides = index.strides(program.axes.len())?;
    let (&pitch, strides) = strides.split_first()?;
    let axes = program.axes.get(1..)?;
    let rows: usize = axes.get(..program.kept.checked_sub(1)?)?.iter().product();
    let inner = strides.iter().zip(axes);
    let width = inner
        .map(|(s, n)| (*s >= 0).then_some(s * (*n as i64 - 1)))
        .sum::<Option<i64>>()?;
    let offset = usize::try_from(index.offset()).ok()?;
    (width < pitch && rows > 0).then_some((offset, rows, usize::try_from(pitch).ok()?))
}
