//! Images with zeros around them, so that every tap of a window is a shift of all positions.

use gradus_graph::ops::{Direction, Window};

use super::columns::Axis;
use crate::exec::simd;

/// How images lie among zeros. Lines of elements are as far apart as lines of positions, and the
/// zeros behind a line are those before the next; so it is with the lines of a plane, the images
/// of a channel, and the channels.
#[derive(Clone, Debug)]
pub(super) struct Padded {
    /// Where the lines of an image begin.
    elements: Vec<usize>,
    /// Elements of a line.
    width: usize,
    /// Where the lines of its positions begin, before any shift.
    positions: Vec<usize>,
    /// Positions of a line.
    columns: usize,
    /// For every tap: from a position to the element on which the tap lies.
    pub(super) shifts: Vec<usize>,
    /// Words from one image to the next.
    image: usize,
    /// Words from the first to the last position of an image, both included.
    span: usize,
}

impl Padded {
    /// The images that the windows of a convolution move over by single steps; `None` if they take
    /// longer ones, or if little of the memory would be elements.
    pub(super) fn new(windows: &[Window], direction: Direction) -> Option<Self> {
        if windows.iter().any(|w| w.stride != 1) {
            return None;
        }
        let axes: Vec<Axis> = windows.iter().map(|w| Axis::of(w, direction)).collect();
        let reach = |axis: &Axis| {
            let taps = [0, axis.size.saturating_sub(1)].map(|tap| axis.place(tap, 0));
            let (first, last) = (taps[0].min(taps[1]), taps[0].max(taps[1]));
            let end = last + i64::try_from(axis.output).unwrap_or(i64::MAX);
            let input = i64::try_from(axis.input).unwrap_or(i64::MAX);
            let unsigned = |v: i64| usize::try_from(v).unwrap_or(0);
            (unsigned(-first), unsigned(end - input))
        };
        let mut padded = Self {
            elements: vec![0],
            width: 1,
            positions: vec![0],
            columns: 1,
            shifts: vec![0],
            image: 1,
            span: 1,
        };
        let mut strides = Vec::new();
        let mut front = 0;
        for axis in axes.iter().rev() {
            let (before, behind) = reach(axis);
            strides.push(padded.image);
            front += before * padded.image;
            padded.span += axis.output.saturating_sub(1) * padded.image;
            padded.image *= (axis.input + before.max(behind)).max(axis.output);
        }
        strides.reverse();
        let places = |counts: &[usize]| {
            let mut places = vec![0];
            for (count, stride) in counts.iter().zip(&strides) {
                let each = |place: usize| (0..*count).map(move |i| place + i * stride);
                places = places.into_iter().flat_map(each).collect();
            }
            places
        };
        let but_last = |of: fn(&Axis) -> usize| {
            let counts: Vec<usize> = axes.iter().map(of).collect();
            let last = counts.last().copied().unwrap_or(1);
            let outer = counts.get(..counts.len().saturating_sub(1));
            (places(outer.unwrap_or_default()), last)
        };
        (padded.elements, padded.width) = but_last(|axis| axis.input);
        padded.elements.iter_mut().for_each(|place| *place += front);
        (padded.positions, padded.columns) = but_last(|axis| axis.output);
        let front = i64::try_from(front).unwrap_or(i64::MAX);
        let mut shifts = vec![front];
        for (axis, stride) in axes.iter().zip(&strides) {
            let stride = i64::try_from(*stride).unwrap_or(i64::MAX);
            let each =
                |shift: i64| (0..axis.size).map(move |tap| shift + axis.place(tap, 0) * stride);
            shifts = shifts.into_iter().flat_map(each).collect();
        }
        let shifts: Result<_, _> = shifts.into_iter().map(usize::try_from).collect();
        padded.shifts = shifts.ok()?;
        Some(padded)
    }

    /// Positions of an image.
    pub(super) fn count(&self) -> usize {
        self.positions.len() * self.columns
    }

    /// Words from one image to the next.
    pub(super) const fn image(&self) -> usize {
        self.image
    }

    /// Words that the positions of some images cover, at least as many as a product wants and a
    /// multiple of all vectors.
    pub(super) fn covered(&self, images: usize) -> usize {
        let len = images.saturating_sub(1) * self.image + self.span;
        len.next_multiple_of(16).max(simd::SHORTEST)
    }

    /// Words that some channels of some images take, with what is read behind them.
    pub(super) fn size(&self, channels: usize, images: usize) -> usize {
        let last = self.shifts.iter().max().copied().unwrap_or(0);
        channels * images * self.image + last + self.covered(images)
    }

    /// Puts an image of a channel where it belongs.
    pub(super) fn place_elements(&self, arch: pulp::Arch, image: &[f32], out: &mut [f32]) {
        simd::spread_lines(arch, image, self.width, &self.elements, out);
    }

    /// Puts values of all positions where the sums of products are.
    pub(super) fn place_positions(&self, arch: pulp::Arch, values: &[f32], out: &mut [f32]) {
        simd::spread_lines(arch, values, self.columns, &self.positions, out);
    }

    /// Takes what was made at all positions.
    pub(super) fn take_positions(&self, arch: pulp::Arch, made: &[f32], out: &mut [f32]) {
        simd::collect_lines(arch, made, self.columns, &self.positions, out);
    }
}
