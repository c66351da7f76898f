//! The gradient of a convolution's weight.

use std::cell::RefCell;
use std::ops::Range;

use gradus_graph::ops;
use rayon::prelude::*;

use super::columns::Columns;
use super::padded::Padded;
use super::{BLOCK, COLUMNS, Common, MISFIT, SCRATCH, Scratch, THREADS_FROM, floats, part, rows};
use crate::exec::context::Context;
use crate::exec::gemm::{Onto, gemm};
use crate::exec::memory::Memory;
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
    /// Where the sums lie.
    static SUMMED: RefCell<Words> = RefCell::default();
}

/// The gradient of a convolution's weight.
#[derive(Debug)]
pub(super) struct Weight {
    common: Common,
    columns: Columns,
    /// How images are padded, if they are shifted and not gathered. Sums are then `[O, C·k…]` for each
    /// group, as the weight is; otherwise `[C·k…, O]`, which is turned in the end.
    padded: Option<Padded>,
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

impl Weight {
    pub(super) fn new(common: Common, conv: &ops::Conv) -> Self {
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
        Self {
            common,
            columns,
            padded,
            parts,
            sums,
        }
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
        let mut summed = SUMMED.take();
        let sums = floats(&mut summed, self.sums * len);
        let operand = |place| memory.read(place).floats(0);
        let factors = [operand(&self.common.a), operand(&self.common.b)];
        let make = |(i, sum): (usize, &mut [f32])| self.sum(inner, factors, i, sum);
        let each = sums.chunks_mut(len.max(1)).enumerate();
        let done = if context.threads && self.sums > 1 {
            let each = sums.par_chunks_mut(len.max(1)).enumerate();
            each.map(make).reduce(|| Ok(()), Result::and)
        } else {
            each.map(make).fold(Ok(()), Result::and)
        };
        let (sum, others) = sums.split_at_mut(len.min(sums.len()));
        add(context, sum, others);
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
        SUMMED.set(summed);
        done
    }

    fn finish(&self, context: Context<'_>, memory: &mut Memory<'_>) {
        if let Some(epilogue) = &self.common.epilogue {
            epilogue.run(context, memory, 0..epilogue.rows());
        }
    }

    /// The sum of some parts.
    fn sum(
        &self,
        context: Context<'_>,
        [x, y]: [&[f32]; 2],
        number: usize,
        sum: &mut [f32],
    ) -> Result<(), String> {
        let Common {
            groups,
            inputs,
            outputs,
            ..
        } = self.common;
        let columns = &self.columns;
        let (positions, terms) = (columns.positions(), inputs * columns.taps);
        let at = |number: usize| number * self.parts.len() / self.sums;
        let parts = self.parts.get(at(number)..at(number + 1));
        let parts = parts.unwrap_or_default();
        sum.fill(0.0);
        if let Some(padded) = &self.padded {
            self.shift(context, padded, [x, y], parts, sum);
            return Ok(());
        }
        let mut scratch = SCRATCH.take();
        let Scratch {
            columns: gathered,
            staged,
            ..
        } = &mut scratch;
        let mut done = true;
        for Part { images, lines } in parts {
            let each = lines.len() * columns.width;
            let len = images.len() * each;
            for (group, sum) in sum.chunks_exact_mut((terms * outputs).max(1)).enumerate() {
                let staged = floats(staged, len * outputs);
                let gathered = floats(gathered, terms * len);
                let turned = staged.chunks_exact_mut((each * outputs).max(1));
                for ((i, n), turned) in images.clone().enumerate().zip(turned) {
                    let image = (n * groups + group) * outputs * positions;
                    let image = part(y, image, outputs * positions);
                    turn(
                        context,
                        image,
                        positions,
                        lines.start * columns.width,
                        turned,
                        outputs,
                    );
                    let image = (n * groups + group) * inputs * columns.elements;
                    let image = part(x, image, inputs * columns.elements);
                    let gathered = gathered.get_mut(i * each..).unwrap_or_default();
                    columns.gather(image, lines.clone(), gathered, len);
                }
                let factors = [rows(gathered, len), rows(staged, outputs)];
                let sizes = [terms, outputs, len];
                done &= gemm(sizes, sum, outputs, factors, Onto::Sum, context.threads);
            }
        }
        SCRATCH.set(scratch);
        done.then_some(()).ok_or_else(|| MISFIT.into())
    }

    /// Adds the products of some parts, of whole images.
    fn shift(
        &self,
        context: Context<'_>,
        padded: &Padded,
        [x, y]: [&[f32]; 2],
        parts: &[Part],
        sum: &mut [f32],
    ) {
        let Common {
            groups,
            inputs,
            outputs,
            ..
        } = self.common;
        let (elements, positions) = (self.columns.elements, self.columns.positions());
        let together = parts.iter().map(|p| p.images.len()).max().unwrap_or(0);
        let (image, pitch) = (padded.image(), padded.covered(together));
        let plane = together * image;
        let mut scratch = SCRATCH.take();
        let columns = floats(&mut scratch.columns, padded.size(inputs, together));
        let staged = floats(&mut scratch.staged, outputs * pitch);
        let mut filled = 0;
        for Part { images, .. } in parts {
            // What lies between images stays zero, but not what fewer images leave.
            if filled != images.len() {
                columns.fill(0.0);
                staged.fill(0.0);
                filled = images.len();
            }
            let group = (sum.len() / groups.max(1)).max(1);
            for (group, sum) in sum.chunks_exact_mut(group).enumerate() {
                for (i, n) in images.clone().enumerate() {
                    for channel in 0..inputs {
                        let at = ((n * groups + group) * inputs + channel) * elements;
                        let to = columns.get_mut(channel * plane + i * image..);
                        let to = to.unwrap_or_default();
                        padded.place_elements(context.arch, part(x, at, elements), to);
                    }
                    for output in 0..outputs {
                        let at = ((n * groups + group) * outputs + output) * positions;
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
        SCRATCH.set(scratch);
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
