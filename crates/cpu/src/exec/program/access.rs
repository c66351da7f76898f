//! Moves runs of elements between memory and registers.

use super::run::{Crossed, Run};
use crate::exec::memory::{Window, WindowMut};
use crate::exec::simd::Arg;

/// Loads a run.
#[inline]
pub(super) fn load(memory: Window<'_>, run: Run, out: &mut [u32]) {
    match run.stride {
        0 => out.fill(memory.at(run.start)),
        1 => match memory.slice(run.start, run.len) {
            Some(words) => out.copy_from_slice(words),
            None => load_each(memory, run, out),
        },
        _ => load_each(memory, run, out),
    }
}

fn load_each(memory: Window<'_>, run: Run, out: &mut [u32]) {
    if let Some((stride, span)) = run.span()
        && let Some(words) = memory.slice(run.start, span)
    {
        let words = words.iter().step_by(stride);
        return words.zip(out).for_each(|(w, o)| *o = *w);
    }
    run.iter().zip(out).for_each(|(p, o)| *o = memory.at(p));
}

/// Loads the elements of a run where a guard holds, and zeros elsewhere. `at` is the run's place
/// in the tile that the guard covers.
pub(super) fn load_guarded(
    memory: Window<'_>,
    run: Run,
    guard: Arg<'_>,
    at: usize,
    out: &mut [u32],
) {
    if let (1, Arg::Slice(guard)) = (run.stride, guard)
        && let Some(words) = memory.slice(run.start, run.len)
        && let Some(guard) = guard.get(at..at + run.len)
    {
        // All of it is inside of the buffer: what the guard forbids is read, but not used.
        let masked = words.iter().zip(guard).map(|(w, g)| w & g.wrapping_neg());
        return masked.zip(out).for_each(|(w, o)| *o = w);
    }
    let positions = run.iter().zip(at..).zip(out);
    positions.for_each(|((p, i), o)| *o = if guard.at(i) != 0 { memory.at(p) } else { 0 });
}

/// Loads a tile whose rows lie across memory: neighbours in memory are `pitch` apart in `out`.
/// Every cache line is then read once, and what is scattered stays in the nearest cache.
pub(super) fn load_crossed(memory: Window<'_>, crossed: Crossed, out: &mut [u32]) {
    let Crossed {
        start,
        stride,
        lines,
        len,
    } = crossed;
    for line in 0..lines {
        let first = start + i64::try_from(line).unwrap_or(i64::MAX) * stride;
        let Some(words) = memory.slice(first, len) else {
            continue;
        };
        let places = out.iter_mut().skip(line).step_by(lines);
        places.zip(words).for_each(|(o, w)| *o = *w);
    }
}

/// Loads elements of rows: `row · stride` further on than the run says.
pub(super) fn load_rows(
    memory: Window<'_>,
    run: Run,
    rows: (Arg<'_>, i64),
    guard: Option<Arg<'_>>,
    at: usize,
    out: &mut [u32],
) {
    let (row, stride) = rows;
    let shift = |i: usize| i64::from(row.at(i)) * stride;
    let same = match row {
        Arg::Splat(_) => true,
        Arg::Slice(rows) => {
            let here = rows.get(at..at + run.len).unwrap_or_default();
            here.windows(2).all(|w| w.first() == w.last())
        }
    };
    if same {
        let run = Run {
            start: run.start + shift(at),
            ..run
        };
        return match guard {
            None => load(memory, run, out),
            Some(guard) => load_guarded(memory, run, guard, at, out),
        };
    }
    for ((p, i), o) in run.iter().zip(at..).zip(out) {
        let holds = guard.is_none_or(|g| g.at(i) != 0);
        *o = if holds { memory.at(p + shift(i)) } else { 0 };
    }
}

/// Stores a run. `at` is its place in the tile that the values cover.
#[inline]
pub(super) fn store(memory: &mut WindowMut<'_>, run: Run, value: Arg<'_>, at: usize) {
    if run.stride == 1
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
        && let Some(values) = values.get(at..at + run.len)
        && let Some((stride, span)) = run.span()
        && let Some(out) = memory.slice(run.start, span)
    {
        let out = out.iter_mut().step_by(stride);
        return out.zip(values).for_each(|(o, v)| *o = *v);
    }
    for (p, i) in run.iter().zip(at..) {
        if let Some(out) = memory.at(p) {
            *out = value.at(i);
        }
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
