//! Moves grids of elements between memory and registers.

use pulp::Arch;

use super::run::{Grid, Run, signed};
use crate::exec::memory::{Window, WindowMut};
use crate::exec::simd::{self, Arg, Columns, Strided};

/// Loads a grid, of which `out` is the first register.
#[inline]
pub(super) fn load(arch: Arch, memory: Window<'_>, grid: Grid, out: &mut [u32]) {
    let grid = grid.joined().map_or(grid, Grid::from);
    let run = grid.run;
    if grid.lines == 1 {
        let out = out.get_mut(..run.len).unwrap_or_default();
        match run.stride {
            0 => return out.fill(memory.at(run.start)),
            1 => {
                if let Some(words) = memory.slice(run.start, run.len) {
                    return out.copy_from_slice(words);
                }
            }
            _ => {}
        }
    }
    if !gather(arch, memory, grid, out) {
        for (at, run) in grid.runs() {
            let out = out.get_mut(at..at + run.len).unwrap_or_default();
            run.iter().zip(out).for_each(|(p, o)| *o = memory.at(p));
        }
    }
}

/// Loads a grid whose positions ascend, if all of them are inside of the buffer.
fn gather(arch: Arch, memory: Window<'_>, grid: Grid, out: &mut [u32]) -> bool {
    let words = memory.after(grid.run.start).unwrap_or_default();
    match strided(grid) {
        Some(lines) if lines.span() <= words.len() => {
            simd::gather(arch, words, lines, out);
            true
        }
        _ => false,
    }
}

/// The grid, if its positions ascend.
fn strided(grid: Grid) -> Option<Strided> {
    Some(Strided {
        len: grid.run.len,
        stride: usize::try_from(grid.run.stride).ok()?,
        lines: grid.lines,
        step: usize::try_from(grid.step).ok()?,
        pitch: grid.pitch,
    })
}

/// Loads the elements of a grid where a guard holds, and zeros elsewhere. `at` is the grid's place
/// in the tile that the guard covers, and `out` its first register.
pub(super) fn load_guarded(
    arch: Arch,
    memory: Window<'_>,
    grid: Grid,
    guard: Arg<'_>,
    at: usize,
    out: &mut [u32],
) {
    if let Arg::Slice(guard) = guard
        && gather(arch, memory, grid, out)
    {
        // All of it is inside of the buffer: what the guard forbids is read, but not used.
        for (place, run) in grid.runs() {
            let out = out.get_mut(place..place + run.len).unwrap_or_default();
            let guard = guard.get(at + place..).unwrap_or_default();
            out.iter_mut()
                .zip(guard)
                .for_each(|(o, g)| *o &= g.wrapping_neg());
        }
        return;
    }
    for (place, run) in grid.runs() {
        let out = out.get_mut(place..place + run.len).unwrap_or_default();
        for ((p, i), o) in run.iter().zip(at + place..).zip(out) {
            *o = if guard.at(i) != 0 { memory.at(p) } else { 0 };
        }
    }
}

/// Rows of a table that elements of a tile are in.
#[derive(Clone, Copy)]
pub(super) struct TableRows<'a> {
    pub(super) rows: Arg<'a>,
    /// Elements of the tile that follow each other and have one of them.
    pub(super) each: usize,
    /// Words from one row to the next.
    pub(super) stride: i64,
}

impl TableRows<'_> {
    /// How many elements from this on, up to so many, are known to be of one row.
    fn alike(&self, at: usize, most: usize) -> usize {
        match self.rows {
            Arg::Splat(_) => most,
            Arg::Slice(_) if self.each > 1 => most.min(self.each - at % self.each),
            Arg::Slice(rows) => {
                let rows = rows.get(at..at + most).unwrap_or_default();
                let first = rows.first().copied().unwrap_or_default();
                let differ = rows.iter().fold(0, |differ, row| differ | (row ^ first));
                if differ == 0 { most } else { 1 }
            }
        }
    }

    fn shift(&self, at: usize) -> i64 {
        i64::from(self.rows.at(at / self.each.max(1))) * self.stride
    }
}

/// Loads elements of rows: so much further on than the run says.
pub(super) fn load_rows(
    arch: Arch,
    memory: Window<'_>,
    run: Run,
    table: TableRows<'_>,
    guard: Option<Arg<'_>>,
    at: usize,
    out: &mut [u32],
) {
    if table.each == 1 && table.alike(at, run.len) == 1 {
        for ((p, i), o) in run.iter().zip(at..).zip(out) {
            let holds = guard.is_none_or(|g| g.at(i) != 0);
            *o = if holds {
                memory.at(p + table.shift(i))
            } else {
                0
            };
        }
        return;
    }
    let mut done = 0;
    while done < run.len {
        let len = table.alike(at + done, run.len - done);
        let start = run.start + run.stride * signed(done) + table.shift(at + done);
        let grid = Grid::from(Run { start, len, ..run });
        let out = out.get_mut(done..done + len).unwrap_or_default();
        match guard {
            None => load(arch, memory, grid, out),
            Some(guard) => load_guarded(arch, memory, grid, guard, at + done, out),
        }
        done += len;
    }
}

/// Stores a grid. `at` is its place in the tile that the values cover.
#[inline]
pub(super) fn store(arch: Arch, memory: &mut WindowMut<'_>, grid: Grid, value: Arg<'_>, at: usize) {
    let grid = grid.joined().map_or(grid, Grid::from);
    let run = grid.run;
    if grid.lines == 1
        && run.stride == 1
        && let Some(out) = memory.slice(run.start, run.len)
    {
        match value {
            Arg::Splat(v) => return out.fill(v),
            Arg::Slice(values) => {
                if let Some(values) = values.get(at..at + run.len) {
                    return out.copy_from_slice(values);
                }
            }
        }
    }
    if let Arg::Slice(values) = value
        && let Some(lines) = strided(grid)
        && let Some(out) = memory.after(grid.run.start)
        && lines.span() <= out.len()
    {
        return simd::scatter(arch, values.get(at..).unwrap_or_default(), lines, out);
    }
    for (place, run) in grid.runs() {
        for (p, i) in run.iter().zip(at + place..) {
            if let Some(out) = memory.at(p) {
                *out = value.at(i);
            }
        }
    }
}

/// Stores columns that alternate in memory, of which the grid is the first.
#[inline]
pub(super) fn store_woven(
    arch: Arch,
    memory: &mut WindowMut<'_>,
    grid: Grid,
    columns: Columns<'_>,
) {
    let joined = grid.joined().map_or(grid, Grid::from);
    let words = memory.after(grid.run.start);
    if let Some((lines, words)) = strided(joined).zip(words) {
        return simd::weave(arch, columns, lines, words);
    }
    for (column, start) in (0..columns.count).zip(grid.run.start..) {
        let run = Run { start, ..grid.run };
        let at = columns.first + column * columns.pitch;
        store(
            arch,
            memory,
            Grid { run, ..grid },
            Arg::Slice(columns.values),
            at,
        );
    }
}

/// Stores in `out` which positions of a run lie in a range.
pub(super) fn in_range(run: Run, low: i64, high: i64, out: &mut [u32]) {
    if run.stride == 1 {
        // Not yet in range, in range, no longer in range.
        let place = |limit: i64| {
            let distance = usize::try_from((limit - run.start).max(0));
            distance.unwrap_or(usize::MAX).min(out.len())
        };
        let (first, end) = (place(low), place(high));
        out.fill(0);
        return out.get_mut(first..end).unwrap_or_default().fill(1);
    }
    let inside = run.iter().map(|p| u32::from(low <= p && p < high));
    inside.zip(out).for_each(|(i, o)| *o = i);
}
