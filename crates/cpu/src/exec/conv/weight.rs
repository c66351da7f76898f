//! The gradient of a convolution's weight.

use std::cell::RefCell;
use std::ops::Range;

use gradus_graph::ops;
use rayon::prelude::*;

use super::columns::Columns;
use super::padded::Padded;
use super::{
    BLOCK, COLUMNS, Common, Held, MISFIT, SCRATCH, Scratch, THREADS_FROM, floats, part, rows,
};
use crate::exec::context::Context;
use crate::exec::gemm::{Onto, gemm};
use crate::exec::memory::{Memory, Place};
use crate::exec::simd::{self, Shifted};
use crate::exec::words::Words;

/// The most sums that are made apart from each other.
const SUMS: usize = 16;
/// Floating-point operations that a sum of its own is worth, at least.
const SUM_FROM: usize = 1_000_000;
/// Terms of each element of a sum, at least, so that there is little to add up in the end.
const TERMS_FROM: usize = 512;
/// Words of padded images that are multiplied at once: in the end of each sum, vectors become numbers.
const PADDED: usize = 2048;
/// Elements of a sum that one thread takes at a time.
const PIECE: usize = 1 << 15;

thread_local! {
    /// Where the sums lie, and those of rows.
    static SUMMED: RefCell<[Words; 2]> = RefCell::default();
}

/// The gradient of a convolution's weight.
#[derive(Debug)]
pub(in crate::exec) struct Weight {
    common: Common,
    columns: Columns,
    /// How images are padded, if they are shifted and not gathered. Sums are then `[O, C·k…]` for each
    /// group, as the weight is; otherwise `[C·k…, O]`, which is turned in the end.
    padded: Option<Padded>,
    /// Receives the sums of `y` over images and positions: a bias gradient.
    row_sum: Option<Place>,
    /// Parts of the work: some images, or some lines of one.
    parts: Vec<Part>,
    /// Sums of some parts each, made apart from each other and then added in order: as many for any
    /// number of threads.
    sums: usize,
}

#[derive(Clone, Debug)]
struct Part {
    images: Range<usize>,
    lines: Range<usize>,
}

/// Images that are shifted together.
struct Shift {
    count: usize,
    /// How many there is room for.
    together: usize,
    /// What lies between images is not yet zero, or fewer images would leave what others were.
    clear: bool,
}

impl Weight {
    /// # Errors
    /// If there is no place for the bias gradient.
    pub(super) fn new(
        common: Common,
        conv: &ops::Conv,
        row_sum: Option<usize>,
        places: &[Place],
    ) -> Result<Self, String> {
        let place = |operand: usize| {
            let place = places.get(operand).copied();
            let channels = common.groups * common.outputs;
            let fits = place.filter(|p| p.written().is_some() && p.len >= channels);
            fits.ok_or_else(|| format!("operand {operand} cannot hold a bias gradient"))
        };
        let row_sum = row_sum.map(place).transpose()?;
        let columns = Columns::new(&conv.windows, conv.direction);
        let positions = columns.positions();
        let terms = common.inputs * columns.taps;
        let room = (BLOCK / terms.max(1)).max(COLUMNS / 4);
        let padded = Padded::new(&conv.windows, conv.direction);
        let (padded, shifted) = padded.map_or((None, 0), |p| shifted(&common, p));
        let parts: Vec<Part> = if positions == 0 {
            Vec::new()
        } else if padded.is_some() {
            whole(common.images, shifted, columns.lines)
        } else if positions <= room {
            let parts = (common.images * positions).div_ceil(room.min(COLUMNS));
            let parts = parts.next_multiple_of(2);
            let together = common.images.div_ceil(parts.max(1)).max(1);
            whole(common.images, together, columns.lines)
        } else {
            let step = (room / columns.width.max(1)).max(1);
            let starts = |n: usize| (0..columns.lines).step_by(step).map(move |l| (n, l));
            let starts = (0..common.images).flat_map(starts);
            starts
                .map(|(n, first)| Part {
                    images: n..n + 1,
                    lines: first..(first + step).min(columns.lines),
                })
                .collect()
        };
        let worth = (common.work / SUM_FROM).min(common.images * positions / TERMS_FROM);
        // Shared out evenly among two threads, or four.
        let sums = worth.min(parts.len()).clamp(1, SUMS);
        let sums = 1 << sums.ilog2();
        Ok(Self {
            common,
            columns,
            padded,
            row_sum,
            parts,
            sums,
        })
    }

    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>) -> Result<(), String> {
        let context = Context {
            threads: context.threads && self.common.work >= THREADS_FROM,
            ..context
        };
        // Threads that make sums of their own do not share them out further.
        let inner = Context {
            threads: context.threads && self.sums == 1,
            ..context
        };
        let Common {
            groups,
            inputs,
            outputs,
            ..
        } = self.common;
        let terms = inputs * self.columns.taps;
        let len = groups * terms * outputs;
        // Taken, not borrowed: while other threads help, this one may begin another product.
        let [mut summed, mut row_sums] = SUMMED.take();
        let sums = floats(&mut summed, self.sums * len.max(1));
        let channels = groups * outputs;
        // Numbers of two words each.
        row_sums.grow(self.sums * channels * 2);
        let all = row_sums.get_mut(..self.sums * channels * 2);
        let rows = bytemuck::try_cast_slice_mut(all.unwrap_or_default());
        let rows: &mut [f64] = rows.unwrap_or_default();
        let (read, channels) = (&*memory, channels.max(1));
        let make = |(i, (sum, rows)): (usize, (&mut [f32], &mut [f64]))| {
            let sum = sum.get_mut(..len).unwrap_or_default();
            self.sum(inner, read, i, sum, rows)
        };
        let done = if context.threads && self.sums > 1 {
            let each = sums.par_chunks_mut(len.max(1));
            let each = each.zip(rows.par_chunks_mut(channels)).enumerate();
            each.map(make).reduce(|| Ok(()), Result::and)
        } else {
            let each = sums.chunks_mut(len.max(1));
            let each = each.zip(rows.chunks_mut(channels)).enumerate();
            each.map(make).fold(Ok(()), Result::and)
        };
        let (sum, others) = sums.split_at_mut(len.min(sums.len()));
        add(context, sum, others);
        if let Some(place) = &self.row_sum {
            let mut to = memory.write(place);
            for (channel, to) in to.floats(0).iter_mut().take(groups * outputs).enumerate() {
                let parts = rows.iter().skip(channel).step_by(channels);
                #[allow(clippy::cast_possible_truncation, reason = "the result is an f32")]
                let sum = parts.sum::<f64>() as f32;
                *to = sum;
            }
        }
        let done = done.and(match &self.common.out {
            Some(out) => {
                let mut words = memory.write(&out.place);
                let words = words.floats(out.offset).get_mut(..len).unwrap_or_default();
                self.turn(context, sum, words);
                self.finish(context, memory);
                Ok(())
            }
            None => {
                let mut scratch = SCRATCH.take();
                self.turn(context, sum, floats(&mut scratch.product, len));
                self.finish(context, &mut memory.with_product(&scratch.product, 0));
                SCRATCH.set(scratch);
                Ok(())
            }
        });
        SUMMED.set([summed, row_sums]);
        done
    }

    fn finish(&self, context: Context<'_>, memory: &mut Memory<'_>) {
        if let Some(epilogue) = &self.common.epilogue {
            epilogue.run(context, memory, 0..epilogue.rows());
        }
    }

    /// The sum of some parts, and those of the rows of `y`.
    fn sum(
        &self,
        context: Context<'_>,
        memory: &Memory<'_>,
        number: usize,
        sum: &mut [f32],
        row_sums: &mut [f64],
    ) -> Result<(), String> {
        let at = |number: usize| number * self.parts.len() / self.sums;
        let parts = self.parts.get(at(number)..at(number + 1));
        let parts = parts.unwrap_or_default();
        sum.fill(0.0);
        row_sums.fill(0.0);
        let mut scratch = SCRATCH.take();
        let [mut first, mut second] = std::mem::take(&mut scratch.factors).map(Held::new);
        let together = parts.iter().map(|p| p.images.len()).max().unwrap_or(0);
        let mut filled = 0;
        let mut done = true;
        for part in parts {
            let images = part.images.clone();
            let Common { a, b, .. } = &self.common;
            let x = a.images(context, memory, images.clone(), &mut first);
            let y = b.images(context, memory, images, &mut second);
            if self.row_sum.is_some() {
                self.sum_rows(context, y, part, row_sums);
            }
            if let Some(padded) = &self.padded {
                let count = part.images.len();
                let images = Shift {
                    count,
                    together,
                    clear: filled != count,
                };
                filled = count;
                self.shift(context, padded, [x, y], &images, &mut scratch, sum);
            } else {
                done &= self.gather(context, [x, y], part, &mut scratch, sum);
            }
        }
        scratch.factors = [first.words, second.words];
        SCRATCH.set(scratch);
        done.then_some(()).ok_or_else(|| MISFIT.into())
    }

    /// Adds the sums of the rows of `y` in a part.
    fn sum_rows(&self, context: Context<'_>, y: &[f32], of: &Part, sums: &mut [f64]) {
        let (positions, width) = (self.columns.positions(), self.columns.width);
        let channels = self.common.groups * self.common.outputs;
        let (first, len) = (of.lines.start * width, of.lines.len() * width);
        for i in 0..of.images.len() {
            for (channel, sum) in sums.iter_mut().enumerate() {
                let x = part(y, (i * channels + channel) * positions + first, len);
                let block = simd::Block {
                    x,
                    rows: 1,
                    cols: len,
                    row_major: true,
                };
                simd::sums(context.arch, block, std::slice::from_mut(sum));
            }
        }
    }

    /// Adds the products of a part, of which `x` is gathered. False if something does not fit.
    fn gather(
        &self,
        context: Context<'_>,
        [x, y]: [&[f32]; 2],
        Part { images, lines }: &Part,
        scratch: &mut Scratch,
        sum: &mut [f32],
    ) -> bool {
        let Common {
            groups,
            inputs,
            outputs,
            ..
        } = self.common;
        let columns = &self.columns;
        let (positions, terms) = (columns.positions(), inputs * columns.taps);
        let Scratch {
            columns: gathered,
            staged,
            ..
        } = scratch;
        let each = lines.len() * columns.width;
        let len = images.len() * each;
        let mut done = true;
        for (group, sum) in sum.chunks_exact_mut((terms * outputs).max(1)).enumerate() {
            let staged = floats(staged, len * outputs);
            let gathered = floats(gathered, terms * len);
            let turned = staged.chunks_exact_mut((each * outputs).max(1));
            for (i, turned) in (0..images.len()).zip(turned) {
                let image = (i * groups + group) * outputs * positions;
                let image = part(y, image, outputs * positions);
                let first = lines.start * columns.width;
                turn(context, image, positions, first, turned, outputs);
                let image = (i * groups + group) * inputs * columns.elements;
                let image = part(x, image, inputs * columns.elements);
                let gathered = gathered.get_mut(i * each..).unwrap_or_default();
                columns.gather(image, lines.clone(), gathered, len);
            }
            let factors = [rows(gathered, len), rows(staged, outputs)];
            let sizes = [terms, outputs, len];
            done &= gemm(sizes, sum, outputs, factors, Onto::Sum, context.threads);
        }
        done
    }

    /// Adds the products of some images, which are shifted.
    fn shift(
        &self,
        context: Context<'_>,
        padded: &Padded,
        [x, y]: [&[f32]; 2],
        images: &Shift,
        scratch: &mut Scratch,
        sum: &mut [f32],
    ) {
        let Common {
            groups,
            inputs,
            outputs,
            ..
        } = self.common;
        let (elements, positions) = (self.columns.elements, self.columns.positions());
        let (image, pitch) = (padded.image(), padded.covered(images.together));
        let plane = images.together * image;
        let columns = floats(&mut scratch.columns, padded.size(inputs, images.together));
        let staged = floats(&mut scratch.staged, outputs * pitch);
        if images.clear {
            columns.fill(0.0);
            staged.fill(0.0);
        }
        let group = (sum.len() / groups.max(1)).max(1);
        for (group, sum) in sum.chunks_exact_mut(group).enumerate() {
            for i in 0..images.count {
                for channel in 0..inputs {
                    let at = ((i * groups + group) * inputs + channel) * elements;
                    let to = columns.get_mut(channel * plane + i * image..);
                    let to = to.unwrap_or_default();
                    padded.place_elements(context.arch, part(x, at, elements), to);
                }
                for output in 0..outputs {
                    let at = ((i * groups + group) * outputs + output) * positions;
                    let to = staged.get_mut(output * pitch + i * image..);
                    let to = to.unwrap_or_default();
                    padded.place_positions(context.arch, part(y, at, positions), to);
                }
            }
            let x = Shifted {
                words: columns,
                plane,
                shifts: &padded.shifts,
            };
            simd::shifted_products(context.arch, x, staged, pitch, sum);
        }
    }

    /// The sum in the order of the weight.
    fn turn(&self, context: Context<'_>, sum: &[f32], out: &mut [f32]) {
        let Common {
            inputs, outputs, ..
        } = self.common;
        let terms = inputs * self.columns.taps;
        if self.padded.is_some() {
            return out.iter_mut().zip(sum).for_each(|(out, sum)| *out = *sum);
        }
        let group = (terms * outputs).max(1);
        for (sum, out) in sum.chunks_exact(group).zip(out.chunks_exact_mut(group)) {
            turn(context, sum, outputs, 0, out, terms);
        }
    }
}

/// Parts of whole images.
fn whole(images: usize, together: usize, lines: usize) -> Vec<Part> {
    let starts = (0..images).step_by(together.max(1));
    starts
        .map(|first| Part {
            images: first..(first + together).min(images),
            lines: 0..lines,
        })
        .collect()
}

/// Whether to shift images rather than gather them, and how many together. Not where so much would
/// be padding, or so few elements fit the cache, that only products of few channels gain.
fn shifted(common: &Common, padded: Padded) -> (Option<Padded>, usize) {
    let (image, images) = (padded.image(), common.images);
    let parts = (images * image).div_ceil(PADDED).next_power_of_two().max(4);
    let room = BLOCK / (common.inputs.max(common.outputs) * image).max(1);
    let together = images.div_ceil(parts).min(room).max(1);
    let few = common.inputs.min(common.outputs) < 8;
    let dense = 4 * padded.count() >= 3 * image && together * image >= PADDED / 4;
    ((few || dense).then_some(padded), together)
}

/// `out[j, i] = words[i, first + j]`, where the rows of `words` are `stride` long and those of `out`
/// `count`.
fn turn(
    context: Context<'_>,
    words: &[f32],
    stride: usize,
    first: usize,
    out: &mut [f32],
    count: usize,
) {
    let rows = simd::Rows {
        words,
        count,
        stride,
    };
    let step = simd::TRANSPOSED * count;
    for (i, out) in out.chunks_mut(step.max(1)).enumerate() {
        simd::transpose(context.arch, rows, first + i * simd::TRANSPOSED, out, count);
    }
}

/// Adds sums to the first one, in order.
fn add(context: Context<'_>, sum: &mut [f32], others: &[f32]) {
    let (len, len_piece) = (sum.len().max(1), PIECE);
    let piece = |(i, sum): (usize, &mut [f32])| {
        for other in others.chunks_exact(len) {
            let other = part(other, i * len_piece, sum.len());
            context.arch.dispatch(|| {
                sum.iter_mut().zip(other).for_each(|(sum, x)| *sum += *x);
            });
        }
    };
    if context.threads && sum.len() > PIECE {
        sum.par_chunks_mut(PIECE).enumerate().for_each(piece);
    } else {
        sum.chunks_mut(PIECE).enumerate().for_each(piece);
    }
}
