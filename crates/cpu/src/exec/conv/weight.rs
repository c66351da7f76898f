//! The gradient of a convolution's weight.

use std::cell::RefCell;
use std::ops::Range;

use gradus_graph::ops;
use rayon::prelude::*;

use super::columns::Columns;
use super::{BLOCK, COLUMNS, Common, MISFIT, SCRATCH, Scratch, THREADS_FROM, floats, part, rows};
use crate::exec::context::Context;
use crate::exec::gemm::{Onto, gemm};
use crate::exec::memory::Memory;
use crate::exec::simd;
use crate::exec::words::Words;

/// The most sums that are made apart from each other.
const SUMS: usize = 16;
/// Floating-point operations that a sum of its own is worth, at least.
const SUM_FROM: usize = 1_000_000;
/// Terms of each element of a sum, at least, so that there is little to add up in the end.
const TERMS_FROM: usize = 512;
/// Elements of a sum that one thread takes at a time.
const PIECE: usize = 1 << 15;

thread_local! {
    /// Where the sums lie.
    static SUMMED: RefCell<Words> = RefCell::default();
}

/// The gradient of a convolution's weight: `[C·k…, O]` for each group, which is turned in the end.
#[derive(Debug)]
pub(super) struct Weight {
    common: Common,
    columns: Columns,
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
        let parts: Vec<Part> = if positions == 0 {
            Vec::new()
        } else if positions <= room {
            let parts = (common.images * positions).div_ceil(room.min(COLUMNS));
            let parts = parts.next_multiple_of(2);
            let together = common.images.div_ceil(parts.max(1)).max(1);
            let starts = (0..common.images).step_by(together);
            starts
                .map(|first| Part {
                    images: first..(first + together).min(common.images),
                    lines: 0..columns.lines,
                })
                .collect()
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
        sum.fill(0.0);
        let mut scratch = SCRATCH.take();
        let Scratch {
            columns: gathered,
            staged,
            ..
        } = &mut scratch;
        let mut done = true;
        for Part { images, lines } in parts.unwrap_or_default() {
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

    /// The sum in the order of the weight.
    fn turn(&self, context: Context<'_>, sum: &[f32], out: &mut [f32]) {
        let Common {
            inputs, outputs, ..
        } = self.common;
        let terms = inputs * self.columns.taps;
        let group = (terms * outputs).max(1);
        for (sum, out) in sum.chunks_exact(group).zip(out.chunks_exact_mut(group)) {
            turn(context, sum, outputs, 0, out, terms);
        }
    }
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
