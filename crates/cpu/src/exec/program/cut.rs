//! Finds where written buffers can be cut, so that several threads can each write a part.

use gradus_graph::{Expr, Index, Program};

use super::axes;
use crate::exec::memory::{MAX_WRITTEN, Place};

/// Where a written buffer can be cut: before the words of every row.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) struct Cut {
    /// The operand.
    pub(super) place: Place,
    /// Words from its start to those of the first row.
    pub(super) offset: usize,
    /// Words of a row, at least 1.
    pub(super) pitch: usize,
}

/// The words at which the buffers are cut before a row.
pub(in crate::exec) fn cut_at(cuts: &[Cut], row: usize) -> [usize; MAX_WRITTEN] {
    let mut at = [0; MAX_WRITTEN];
    for (at, cut) in at.iter_mut().zip(cuts) {
        *at = cut.place.start + cut.offset + row * cut.pitch;
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
    cuts.iter_mut().for_each(|cut| cut.pitch *= rows);
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
            let (offset, pitch) = apart(program, &store.index)?;
            let place = *places.get(store.operand)?;
            private.then_some(Cut {
                place,
                offset,
                pitch,
            })
        })
        .collect();
    cuts
}

/// Offset and pitch if every row has a range of its own and these follow each other.
fn apart(program: &Program, index: &Index) -> Option<(usize, usize)> {
    let strides = index.strides(program.axes.len())?;
    let (kept, reduced) = strides.split_at_checked(program.kept)?;
    let &[pitch] = kept else { return None };
    let cols = reduced.iter().zip(program.axes.get(program.kept..)?);
    let width = cols
        .map(|(s, n)| (*s >= 0).then_some(s * (*n as i64 - 1)))
        .sum::<Option<i64>>()?;
    let offset = usize::try_from(index.offset()).ok()?;
    (width < pitch).then_some((offset, usize::try_from(pitch).ok()?))
}
