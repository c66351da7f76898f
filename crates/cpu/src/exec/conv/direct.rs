//! Convolutions by single steps, as sums of shifted images: nothing is gathered.

use std::ops::Range;

use gradus_graph::ops::{Direction, Window};

use super::padded::Padded;
use super::{BLOCK, COLUMNS, Common, Scratch, floats, part};
use crate::exec::context::Context;
use crate::exec::simd::{self, Shifted};

/// A convolution, or the gradient of its input, whose windows move by single steps.
#[derive(Debug)]
pub(super) struct Direct {
    padded: Padded,
    /// Toward the input.
    input: bool,
    groups: usize,
    /// Channels of each image of the first operand and of the result, in a group.
    source: usize,
    result: usize,
    /// Elements of a channel of the first operand.
    from: usize,
    /// Images that are padded together.
    pub(super) together: usize,
}

/// Words that results are made in: channel `c` of an image is at `image · batch + c · row`.
pub(super) struct Target<'a> {
    pub(super) words: &'a mut [f32],
    pub(super) batch: usize,
    pub(super) row: usize,
}

impl Direct {
    /// `None` where gathering is faster: where windows take longer steps, or where so much would be
    /// padding that only products of few channels gain.
    pub(super) fn new(common: &Common, windows: &[Window], direction: Direction) -> Option<Self> {
        let padded = Padded::new(windows, direction)?;
        let input = direction == Direction::Input;
        let (source, result) = if input {
            (common.outputs, common.inputs)
        } else {
            (common.inputs, common.outputs)
        };
        let (positions, image) = (padded.count(), padded.image());
        if positions == 0 || result >= 8 && 4 * positions < 3 * image {
            return None;
        }
        let images = common.images;
        let parts = (images * image).div_ceil(COLUMNS).next_multiple_of(2);
        let room = BLOCK / (source * image).max(1);
        let together = images.div_ceil(parts.max(1)).min(room).max(1);
        let from = windows
            .iter()
            .map(|w| if input { w.output } else { w.input });
        Some(Self {
            padded,
            input,
            groups: common.groups,
            source,
            result,
            from: from.product(),
            together,
        })
    }

    /// Words that the weights take in the order that products want.
    pub(super) fn weights(&self) -> usize {
        self.groups * self.result * self.terms()
    }

    fn terms(&self) -> usize {
        self.source * self.padded.shifts.len()
    }

    /// Puts the weights in that order: group, outputs made at once, channel, tap, output.
    pub(super) fn pack(&self, context: Context<'_>, weights: &[f32], packed: &mut [f32]) {
        let (taps, terms) = (self.padded.shifts.len(), self.terms());
        let group = (self.result * terms).max(1);
        let groups = weights
            .chunks_exact(group)
            .zip(packed.chunks_exact_mut(group));
        for (weights, packed) in groups {
            for outputs in self.blocks(context) {
                let to = packed.get_mut(outputs.start * terms..outputs.end * terms);
                let to = to.unwrap_or_default().chunks_exact_mut(outputs.len());
                for (term, to) in to.enumerate() {
                    let (channel, tap) = (term / taps, term % taps);
                    for (output, to) in outputs.clone().zip(to) {
                        let row = if self.input {
                            channel * self.result + output
                        } else {
                            output * self.source + channel
                        };
                        *to = weights.get(row * taps + tap).copied().unwrap_or(0.0);
                    }
                }
            }
        }
    }

    /// Ranges of outputs that are made at once.
    fn blocks(&self, context: Context<'_>) -> impl Iterator<Item = Range<usize>> {
        let (mut count, end) = (simd::outputs_at_once(context.arch), self.result);
        let mut next = 0;
        std::iter::from_fn(move || {
            while count > end - next {
                count /= 2;
            }
            let start = next;
            next += count;
            (count > 0).then_some(start..next)
        })
    }

    /// Zeros for images to be put among.
    pub(super) fn clear(&self, scratch: &mut Scratch) {
        floats(
            &mut scratch.columns,
            self.padded.size(self.source, self.together),
        )
        .fill(0.0);
    }

    /// The results of so many images, which `a` and the target begin with. The scratch memory was cleared,
    /// and used for nothing else since.
    pub(super) fn make(
        &self,
        context: Context<'_>,
        [a, packed]: [&[f32]; 2],
        scratch: &mut Scratch,
        target: Target<'_>,
        images: usize,
    ) {
        let (padded, terms) = (&self.padded, self.terms());
        let (image, positions) = (padded.image(), padded.count());
        let plane = self.together * image;
        let pitch = padded.covered(images);
        let Scratch {
            columns, staged, ..
        } = scratch;
        let columns = floats(columns, padded.size(self.source, self.together));
        let at_once = simd::outputs_at_once(context.arch);
        let staged = floats(staged, at_once * pitch);
        for group in 0..self.groups {
            for i in 0..images {
                for channel in 0..self.source {
                    let at = (i * self.groups + group) * self.source + channel;
                    let from = part(a, at * self.from, self.from);
                    let to = columns.get_mut(channel * plane + i * image..);
                    padded.place_elements(context.arch, from, to.unwrap_or_default());
                }
            }
            let x = Shifted {
                words: columns,
                plane,
                shifts: &padded.shifts,
            };
            for outputs in self.blocks(context) {
                let first = group * self.result + outputs.start;
                let weights = part(packed, first * terms, outputs.len() * terms);
                simd::shifted_sums(context.arch, x, weights, outputs.len(), staged, pitch);
                for i in 0..images {
                    let out = target
                        .words
                        .get_mut(i * target.batch + first * target.row..);
                    let out = out.unwrap_or_default().chunks_mut(target.row.max(1));
                    let made = staged.chunks_exact(pitch).take(outputs.len());
                    for (out, made) in out.zip(made) {
                        let out = out.get_mut(..positions).unwrap_or_default();
                        let made = made.get(i * image..).unwrap_or_default();
                        padded.take_positions(context.arch, made, out);
                    }
                }
            }
        }
    }
}
