//! Which parts of its buffers a kernel writes, and which it only reads beside them.

use std::ops::Range;

use super::memory::{Home, MAX_WRITTEN, Place};

/// An operand of a kernel: words of a buffer.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) buffer: usize,
    /// Its own words.
    pub(super) words: Range<usize>,
    /// The end of what may be touched.
    pub(super) end: usize,
    pub(super) writes: bool,
}

/// A part of a buffer that is written, or that is only read beside such parts.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// The number of the buffer among [`Regions::taken`].
    pub(super) taken: usize,
    pub(super) words: Range<usize>,
    pub(super) home: Home,
}

/// The buffers that a kernel takes while it runs, and their parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Regions {
    /// Buffers of which it writes a part.
    pub(super) taken: Vec<usize>,
    /// In order. A buffer is one region, unless it also holds what is read and not written.
    pub(super) regions: Vec<Region>,
}

/// A part of a buffer, and whether it is written.
type Part = (Range<usize>, bool);

const WHOLE: Part = (0..usize::MAX, true);

impl Regions {
    /// The regions and the places of these operands. Buffers are whole if their parts are too many.
    ///
    /// # Errors
    /// If there are more of them than a kernel can have.
    pub(super) fn new(spans: &[Span]) -> Result<(Self, Vec<Place>), String> {
        let found = Self::of(spans, parts).or_else(|_| Self::of(spans, |_, _| vec![WHOLE]))?;
        let place = |span: &Span| {
            let mut regions = found.regions.iter();
            let region = regions.find(|r| {
                found.taken.get(r.taken) == Some(&span.buffer)
                    && r.words.contains(&span.words.start)
            });
            let home = region.map_or(Home::Read(span.buffer), |r| r.home);
            let end = region.map_or(span.end, |r| r.words.end.min(span.end));
            Place {
                home,
                start: span.words.start,
                len: end.saturating_sub(span.words.start),
            }
        };
        let places = spans.iter().map(place).collect();
        Ok((found, places))
    }

    /// The buffers that are written to, in these parts.
    fn of(spans: &[Span], parts: fn(&[Span], usize) -> Vec<Part>) -> Result<Self, String> {
        let mut found = Self::default();
        for span in spans.iter().filter(|s| s.writes) {
            if !found.taken.contains(&span.buffer) {
                found.taken.push(span.buffer);
            }
        }
        let [mut written, mut beside] = [0; 2];
        for (taken, &buffer) in found.taken.iter().enumerate() {
            for (words, writes) in parts(spans, buffer) {
                let (home, count) = if writes {
                    (Home::Written(written), &mut written)
                } else {
                    (Home::Beside(beside), &mut beside)
                };
                *count += 1;
                found.regions.push(Region { taken, words, home });
            }
        }
        let most = written.max(beside);
        if most > MAX_WRITTEN {
            return Err(format!(
                "{most} buffers are written, at most {MAX_WRITTEN} can be"
            ));
        }
        Ok(found)
    }
}

/// The parts of a buffer of which some operands are written, in order, and whether they are.
fn parts(spans: &[Span], buffer: usize) -> Vec<Part> {
    let apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
    let mut here: Vec<&Span> = spans.iter().filter(|s| s.buffer == buffer).collect();
    here.sort_by_key(|s| s.words.start);
    let written = || here.iter().filter(|s| s.writes);
    let is_beside = |s: &Span| !s.words.is_empty() && written().all(|w| apart(&w.words, &s.words));
    if !here.iter().any(|s| is_beside(s)) {
        return vec![WHOLE];
    }
    let mut parts: Vec<Part> = Vec::new();
    for span in here.iter().filter(|s| !s.words.is_empty()) {
        let writes = !is_beside(span);
        match parts.last_mut() {
            Some((last, same)) if *same == writes => last.end = last.end.max(span.words.end),
            _ => parts.push((span.words.clone(), writes)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(buffer: usize, words: Range<usize>, writes: bool) -> Span {
        Span {
            buffer,
            end: words.end + 100,
            words,
            writes,
        }
    }

    #[test]
    fn a_buffer_is_cut_only_around_what_is_read() {
        let (regions, places) = Regions::new(&[
            span(3, 0..8, false),
            span(5, 0..4, true),
            span(5, 8..12, true),
        ])
        .unwrap();
        assert_eq!(regions.taken, [5]);
        assert_eq!(regions.regions.len(), 1);
        let homes: Vec<Home> = places.iter().map(|p| p.home).collect();
        assert_eq!(homes, [Home::Read(3), Home::Written(0), Home::Written(0)]);
        let (regions, places) = Regions::new(&[
            span(5, 4..8, false),
            span(5, 0..4, true),
            span(5, 8..12, true),
            span(5, 8..12, false),
        ])
        .unwrap();
        let words: Vec<_> = regions.regions.iter().map(|r| r.words.clone()).collect();
        assert_eq!(words, [0..4, 4..8, 8..12]);
        let homes: Vec<Home> = places.iter().map(|p| p.home).collect();
        let written = Home::Written;
        assert_eq!(homes, [Home::Beside(0), written(0), written(1), written(1)]);
        assert_eq!(places[0].len, 4);
    }
}
