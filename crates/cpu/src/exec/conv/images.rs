//! Convolutions whose result is images.

use std::cell::RefCell;
use std::ops::Range;

use gradus_graph::ops::Direction;
use gradus_graph::plan::ConvKernel;

use super::columns::Columns;
use super::direct::{Direct, Target};
use super::{
    BLOCK, COLUMNS, Common, Held, MISFIT, SCRATCH, Scratch, TASK, THREADS_FROM, floats, part, rows,
};
use crate::exec::context::Context;
use crate::exec::gemm::{Matrix, Onto, gemm};
use crate::exec::memory::{Memory, Place};
use crate::exec::program::{Cut, cut_at, line_cuts};
use crate::exec::words::Words;

thread_local! {
    /// Where the weights of all groups lie in the order that a product wants.
    static TURNED: RefCell<Words> = RefCell::default();
}

/// A convolution, or the gradient of its input.
#[derive(Debug)]
pub(in crate::exec) struct Images {
    common: Common,
    how: How,
    columns: Columns,
    /// Channels of each image of the first operand and of the result, in a group.
    source: usize,
    result: usize,
    /// Elements of a channel of the first operand and of the result.
    from: usize,
    positions: usize,
    /// Where the written buffers can be cut between images.
    cuts: Option<Vec<Cut>>,
    /// Images that are multiplied together.
    together: usize,
}

#[derive(Debug)]
enum How {
    /// Images are shifted, not gathered.
    Direct(Box<Direct>),
    /// Elements of the first operand are gathered, then multiplied. Toward the input if every
    /// element is met by each tap.
    Gather {
        /// The weights have to be put in another order.
        turn: bool,
    },
    /// The first operand is multiplied and the products are added where they belong.
    Scatter,
}

impl Images {
    pub(super) fn new(common: Common, kernel: &ConvKernel, places: &[Place]) -> Self {
        let conv = &kernel.conv;
        let input = conv.direction == Direction::Input;
        let single_steps = conv.windows.iter().all(|w| w.stride == 1);
        let scatter = input && !single_steps;
        let columns = Columns::new(
            &conv.windows,
            if scatter {
                Direction::Output
            } else {
                conv.direction
            },
        );
        let read_only = common.a.is_read_only() && common.b.is_read_only();
        let images = common.images;
        let cuts = (read_only && images > 1 && common.work >= THREADS_FROM)
            .then(|| line_cuts(&kernel.epilogue, places, images))
            .flatten();
        // Where threads cannot share out the images, they share out products.
        let alone = cuts.is_none() && common.work >= THREADS_FROM;
        let direct = (!alone && !columns.is_image())
            .then(|| Direct::new(&common, &conv.windows, conv.direction))
            .flatten();
        let (source, result) = if input {
            (common.outputs, common.inputs)
        } else {
            (common.inputs, common.outputs)
        };
        let (from, positions) = if scatter {
            (columns.positions(), columns.elements)
        } else {
            (columns.elements, columns.positions())
        };
        // One product of few columns is slow. An even number of nearly equal parts, so that two
        // threads have the same to do.
        let parts = (images * positions).div_ceil(COLUMNS).next_multiple_of(2);
        let together = match &direct {
            Some(direct) => direct.together,
            None if scatter || columns.is_image() && positions >= COLUMNS / 4 => 1,
            None => images.div_ceil(parts.max(1)).max(1),
        };
        let how = match direct {
            Some(direct) => How::Direct(Box::new(direct)),
            None if scatter => How::Scatter,
            None => How::Gather { turn: input },
        };
        Self {
            common,
            how,
            columns,
            source,
            result,
            from,
            positions,
            cuts,
            together,
        }
    }

    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>) -> Result<(), String> {
        let parts = 0..self.common.images.div_ceil(self.together);
        let taps = self.columns.taps;
        let len = match &self.how {
            How::Direct(direct) => direct.weights(),
            // A matrix of single taps is transposed by the product.
            How::Gather { turn: true } if taps > 1 => {
                self.common.groups * self.source * self.result * taps
            }
            How::Gather { .. } | How::Scatter => {
                return self.parts(context, memory, None, parts);
            }
        };
        // Taken, not borrowed: while other threads help, this one may begin another product.
        let mut turned = TURNED.take();
        let mut held = Held::default();
        let weights = self.common.b.images(context, memory, 0..1, &mut held);
        let weights = part(weights, 0, len);
        let to = floats(&mut turned, len);
        match &self.how {
            How::Direct(direct) => direct.pack(context, weights, to),
            _ => self.turn(weights, to),
        }
        let weights: &[u32] = turned.get(..len).unwrap_or_default();
        let done = self.parts(context, memory, Some(bytemuck::cast_slice(weights)), parts);
        TURNED.set(turned);
        done
    }

    /// Puts the output channels of a weight behind each other for every input channel.
    fn turn(&self, weights: &[f32], turned: &mut [f32]) {
        let taps = self.columns.taps;
        let rows = turned.chunks_exact_mut((self.source * taps).max(1));
        for (i, row) in rows.enumerate() {
            let (group, channel) = (i / self.result, i % self.result);
            for (o, to) in row.chunks_exact_mut(taps).enumerate() {
                let at = ((group * self.source + o) * self.result + channel) * taps;
                let from = part(weights, at, taps).iter();
                from.zip(to).for_each(|(from, to)| *to = *from);
            }
        }
    }

    /// Makes some parts, on several threads if they may be shared out.
    fn parts(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        turned: Option<&[f32]>,
        parts: Range<usize>,
    ) -> Result<(), String> {
        let shared = context.threads && self.common.work >= THREADS_FROM;
        if let Some(cuts) = &self.cuts
            && shared
            && parts.len() > self.common.images.div_ceil(self.together) * TASK / self.common.work
            && parts.len() > 1
        {
            let middle = parts.start + parts.len() / 2;
            let (mut left, mut right) = memory.split(&cut_at(cuts, middle * self.together));
            let (left, right) = rayon::join(
                || self.parts(context, &mut left, turned, parts.start..middle),
                || self.parts(context, &mut right, turned, middle..parts.end),
            );
            return left.and(right);
        }
        let context = Context {
            threads: shared && self.cuts.is_none(),
            ..context
        };
        // Taken, as the turned weights.
        let mut scratch = SCRATCH.take();
        if let How::Direct(direct) = &self.how {
            direct.clear(&mut scratch);
        }
        let mut done = Ok(());
        for part in parts {
            let first = part * self.together;
            let images = first..(first + self.together).min(self.common.images);
            done = done.and(self.part(context, memory, turned, &mut scratch, images));
        }
        SCRATCH.set(scratch);
        done
    }

    /// Makes some images where the result goes or aside, then runs the epilogue over them.
    fn part(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        turned: Option<&[f32]>,
        scratch: &mut Scratch,
        images: Range<usize>,
    ) -> Result<(), String> {
        let Common { a, b, out, .. } = &self.common;
        let count = images.len();
        let image = self.common.groups * self.result * self.positions;
        let [mut first, mut second] = std::mem::take(&mut scratch.factors).map(Held::new);
        let done = if let Some(out) = out {
            let reading = memory.reading();
            let a = a.images(context, &reading, images.clone(), &mut first);
            let b = turned.unwrap_or_else(|| b.images(context, &reading, 0..1, &mut second));
            let mut words = memory.write(&out.place);
            let target = Target {
                words: words.floats(out.offset + images.start * out.batch),
                batch: out.batch,
                row: out.row,
            };
            let done = self.make(context, [a, b], scratch, target, count);
            self.finish(context, memory, images);
            done
        } else {
            let mut product = std::mem::take(&mut scratch.product);
            let a = a.images(context, memory, images.clone(), &mut first);
            let b = turned.unwrap_or_else(|| b.images(context, memory, 0..1, &mut second));
            let target = Target {
                words: floats(&mut product, count * image),
                batch: image,
                row: self.positions,
            };
            let done = self.make(context, [a, b], scratch, target, count);
            let mut memory = memory.with_product(&product, images.start * image);
            self.finish(context, &mut memory, images);
            scratch.product = product;
            done
        };
        scratch.factors = [first.words, second.words];
        done
    }

    fn finish(&self, context: Context<'_>, memory: &mut Memory<'_>, images: Range<usize>) {
        if let Some(epilogue) = &self.common.epilogue {
            let each = epilogue.rows() / self.common.images.max(1);
            epilogue.run(context, memory, images.start * each..images.end * each);
        }
    }

    /// The products of so many images, which `a` and the target begin with.
    fn make(
        &self,
        context: Context<'_>,
        [a, b]: [&[f32]; 2],
        scratch: &mut Scratch,
        target: Target<'_>,
        images: usize,
    ) -> Result<(), String> {
        if let How::Direct(direct) = &self.how {
            direct.make(context, [a, b], scratch, target, images);
            return Ok(());
        }
        let (groups, taps) = (self.common.groups, self.columns.taps);
        let (source, weight) = (self.source * self.from, self.source * self.result * taps);
        for group in 0..groups {
            let weight = part(b, group * weight, weight);
            let of = |n: usize| part(a, (n * groups + group) * source, source);
            let at = group * self.result * target.row;
            if let How::Gather { turn } = self.how {
                let terms = self.source * taps;
                let weight = if turn && taps == 1 {
                    Matrix {
                        words: weight,
                        row_stride: 1,
                        col_stride: self.result,
                    }
                } else {
                    rows(weight, terms)
                };
                let out = target.words.get_mut(at..).unwrap_or_default();
                if images == 1 {
                    self.one(context, of(0), weight, scratch, out, target.row)?;
                } else {
                    let group = Target {
                        words: out,
                        ..target
                    };
                    self.several(context, &of, weight, scratch, group, images)?;
                }
            } else {
                for n in 0..images {
                    let at = n * target.batch + at;
                    let out = target.words.get_mut(at..).unwrap_or_default();
                    self.scatter(context, of(n), weight, scratch, out, target.row)?;
                }
            }
        }
        Ok(())
    }

    fn product(
        &self,
        context: Context<'_>,
        columns: usize,
        out: &mut [f32],
        row: usize,
        factors: [Matrix<'_>; 2],
    ) -> Result<(), String> {
        let sizes = [self.result, columns, self.source * self.columns.taps];
        let done = gemm(sizes, out, row, factors, Onto::Nothing, context.threads);
        done.then_some(()).ok_or_else(|| MISFIT.into())
    }

    /// One image, as many positions at a time as fit the cache.
    fn one(
        &self,
        context: Context<'_>,
        image: &[f32],
        weight: Matrix<'_>,
        scratch: &mut Scratch,
        out: &mut [f32],
        row: usize,
    ) -> Result<(), String> {
        let columns = &self.columns;
        if columns.is_image() {
            let factors = [weight, rows(image, self.positions)];
            return self.product(context, self.positions, out, row, factors);
        }
        let terms = self.source * columns.taps;
        let lines =
            (BLOCK / (terms * columns.width).max(1)).max(COLUMNS / 4 / columns.width.max(1));
        let lines = lines.clamp(1, columns.lines.max(1));
        for first in (0..columns.lines).step_by(lines) {
            let lines = first..(first + lines).min(columns.lines);
            let len = lines.len() * columns.width;
            let gathered = floats(&mut scratch.columns, terms * len);
            columns.gather(image, lines, gathered, len);
            let out = out.get_mut(first * columns.width..).unwrap_or_default();
            self.product(context, len, out, row, [weight, rows(gathered, len)])?;
        }
        Ok(())
    }

    /// Several small images as one matrix.
    fn several<'s>(
        &self,
        context: Context<'_>,
        of: &dyn Fn(usize) -> &'s [f32],
        weight: Matrix<'_>,
        scratch: &mut Scratch,
        target: Target<'_>,
        images: usize,
    ) -> Result<(), String> {
        let (columns, each) = (&self.columns, self.positions);
        let (terms, len) = (self.source * columns.taps, images * each);
        // Whole vectors, of which the last one is not used in full.
        let pitch = len.next_multiple_of(16);
        let gathered = floats(&mut scratch.columns, terms * pitch);
        for i in 0..images {
            let gathered = gathered.get_mut(i * each..).unwrap_or_default();
            columns.gather(of(i), 0..columns.lines, gathered, pitch);
        }
        let staged = floats(&mut scratch.staged, self.result * pitch);
        self.product(
            context,
            pitch,
            staged,
            pitch,
            [weight, rows(gathered, pitch)],
        )?;
        for i in 0..images {
            let out = target.words.get_mut(i * target.batch..);
            let out = out.unwrap_or_default().chunks_mut(target.row.max(1));
            for (out, made) in out.zip(staged.chunks_exact(pitch.max(1))) {
                let made = part(made, i * each, each);
                out.iter_mut()
                    .zip(made)
                    .for_each(|(out, made)| *out = *made);
            }
        }
        Ok(())
    }

    /// Adds products to the elements that they belong to.
    fn scatter(
        &self,
        context: Context<'_>,
        image: &[f32],
        weight: &[f32],
        scratch: &mut Scratch,
        out: &mut [f32],
        row: usize,
    ) -> Result<(), String> {
        let columns = &self.columns;
        let width = columns.width;
        let channels = out.chunks_mut(row.max(1)).take(self.result);
        channels
            .filter_map(|c| c.get_mut(..self.positions))
            .for_each(|c| c.fill(0.0));
        let terms = self.result * columns.taps;
        let lines = (BLOCK / (terms * width).max(1)).max(COLUMNS / 4 / width.max(1));
        let lines = lines.clamp(1, columns.lines.max(1));
        for first in (0..columns.lines).step_by(lines) {
            let lines = first..(first + lines).min(columns.lines);
            let len = lines.len() * width;
            let made = floats(&mut scratch.columns, terms * len);
            let weight = Matrix {
                words: weight,
                row_stride: 1,
                col_stride: terms,
            };
            let image = rows(image.get(first * width..).unwrap_or_default(), self.from);
            let sizes = [terms, len, self.source];
            let factors = [weight, image];
            if !gemm(sizes, made, len, factors, Onto::Nothing, context.threads) {
                return Err(MISFIT.into());
            }
            let end = (self.result * row).min(out.len());
            let out = out.get_mut(..end).unwrap_or_default();
            columns.scatter(made, len, lines, out, row);
        }
        Ok(())
    }
}
