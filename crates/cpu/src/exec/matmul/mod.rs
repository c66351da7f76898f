//! Matrix products with an epilogue.

mod row_sum;

use std::cell::RefCell;
use std::ops::Range;

use gradus_graph::plan::{MatMulKernel, Matrix};
use rayon::prelude::*;

use self::row_sum::row_sum;
use super::context::Context;
use super::gemm::{self, Onto, gemm};
use super::memory::{Memory, Place};
use super::product::{Destination, with_product};
use super::program::{Compiled, Cut, cut_at, line_cuts};
use super::simd;
use super::words::Words;

/// Words of a panel: some rows of the product, that stay in the second-level cache until the
/// epilogue has run over them.
const PANEL: usize = 1 << 17;
/// Floating-point operations from which a product may use several threads.
const THREADS_FROM: usize = 32_000_000;
/// The most rows of the panels that threads share out among themselves: for so few `gemm` reads the
/// right matrix where it lies.
const SHARED_ROWS: usize = 48;
/// Rows that the kernels of `gemm` take at once: panels end where these do.
const KERNEL_ROWS: usize = 6;
/// Words of the right matrix up to which such panels are worth it: each of them reads all of it.
const SHARED_WORDS: usize = 1 << 19;
/// Words of a matrix from which several threads transpose it.
const TURN_THREADS_FROM: usize = 1 << 17;
/// Rows from which it is worth to transpose a matrix beforehand.
const ROWS: usize = 8;
/// A distance of this many words between rows puts them all into a few sets of the nearest cache.
const CONFLICT: usize = 256;

thread_local! {
    /// Where panels lie that cannot be made in place.
    static SCRATCH: RefCell<Words> = RefCell::default();
    /// Where the transposed right matrix lies.
    static TRANSPOSED: RefCell<Words> = RefCell::default();
}

/// A matrix product, ready to run.
#[derive(Debug)]
pub(super) struct MatMul {
    kernel: MatMulKernel,
    a: Place,
    b: Place,
    /// The operand that the product is made in, if the epilogue can run in place.
    out: Option<Destination>,
    epilogue: Option<Compiled>,
    row_sum: Option<Compiled>,
    /// Panels of a product, and the rows of which each has one or more.
    panels: usize,
    unit: usize,
    /// Where the written buffers can be cut between rows of the product, if panels are shared out.
    cuts: Option<Vec<Cut>>,
    /// The right matrix is transposed before the product, not by `gemm` in every panel.
    turn: bool,
}

impl MatMul {
    /// Prepares a product whose operands lie at these places.
    ///
    /// # Errors
    /// If it is malformed or reaches outside of its operands.
    pub(super) fn new(kernel: &MatMulKernel, places: &[Place]) -> Result<Self, String> {
        let find = |operand: usize| {
            places
                .get(operand)
                .copied()
                .ok_or_else(|| format!("there is no operand {operand}"))
        };
        let &MatMulKernel { batch, m, n, k, .. } = kernel;
        let (a, b) = (find(kernel.a.operand)?, find(kernel.b.operand)?);
        fits(&kernel.a, [m, k], batch, &a)?;
        fits(&kernel.b, [k, n], batch, &b)?;
        let lines = batch * m;
        let shared = work([lines, n, k]) >= THREADS_FROM
            && n.saturating_mul(k) <= SHARED_WORDS
            && m >= SHARED_ROWS;
        let read_only = a.written().or(b.written()).is_none();
        let cuts = if shared && read_only {
            line_cuts(&kernel.epilogue, places, lines)
        } else {
            None
        };
        let (sizes, factors) = ([batch, m, n], [kernel.a.operand, kernel.b.operand]);
        let out = Destination::find(&kernel.epilogue, sizes, &factors, places);
        let (program, places) = with_product(&kernel.epilogue, sizes, places, out.as_ref());
        let epilogue = if program.stores.is_empty() {
            None
        } else {
            Some(Compiled::for_lines(&program, &places, lines)?)
        };
        let row_sum = kernel
            .row_sum
            .map(|to| Compiled::new(&row_sum(kernel, to), &places))
            .transpose()?;
        let (panels, unit) = match (&cuts, &epilogue) {
            // An even number, of nearly the same size: so often there are two threads.
            (Some(_), _) => (m.div_ceil(SHARED_ROWS).next_multiple_of(2), KERNEL_ROWS),
            (None, Some(_)) => {
                let rows = (PANEL / n.max(1)).clamp(1, m.max(1));
                (m.div_ceil(rows), rows)
            }
            (None, None) => (m.min(1), m.max(1)),
        };
        let conflict = kernel.b.row_stride.is_multiple_of(CONFLICT) && m >= ROWS;
        Ok(Self {
            kernel: kernel.clone(),
            a,
            b,
            out,
            epilogue,
            row_sum,
            panels,
            unit,
            turn: kernel.b.transposed && batch == 1 && (cuts.is_some() || conflict),
            cuts,
        })
    }

    /// Computes it.
    ///
    /// # Errors
    /// If an operand is smaller than it was said to be.
    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>) -> Result<(), String> {
        if let Some(row_sum) = &self.row_sum {
            row_sum.run(context, memory, 0..row_sum.rows());
        }
        let panels = 0..self.kernel.batch * self.panels;
        if !self.turn {
            return self.panels(context, memory, None, panels);
        }
        // Taken, not borrowed: while other threads help, this one may begin another product.
        let mut turned = TRANSPOSED.take();
        let b = self.turn(context, memory, &mut turned);
        let done = self.panels(context, memory, Some(b), panels);
        TRANSPOSED.set(turned);
        done
    }

    /// The right matrix, transposed into `to`.
    fn turn<'t>(
        &self,
        context: Context<'_>,
        memory: &Memory<'_>,
        to: &'t mut Words,
    ) -> gemm::Matrix<'t> {
        let MatMulKernel { n, k, ref b, .. } = self.kernel;
        // Not a multiple of a large power of two.
        let row_stride = n.next_multiple_of(16) + 16;
        to.grow(k * row_stride);
        let words = bytemuck::cast_slice_mut(to.get_mut(..k * row_stride).unwrap_or_default());
        let rows = simd::Rows {
            words: memory.read(&self.b).floats(b.offset),
            count: n,
            stride: b.row_stride,
        };
        let part = |(i, out): (usize, &mut [f32])| {
            simd::transpose(context.arch, rows, i * simd::TRANSPOSED, out, row_stride);
        };
        let step = simd::TRANSPOSED * row_stride;
        if context.threads && k * n >= TURN_THREADS_FROM {
            words.par_chunks_mut(step).enumerate().for_each(part);
        } else {
            words.chunks_mut(step).enumerate().for_each(part);
        }
        gemm::Matrix {
            words,
            row_stride,
            col_stride: 1,
        }
    }

    /// Makes some panels, on several threads if they may be shared out.
    fn panels(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        turned: Option<gemm::Matrix<'_>>,
        panels: Range<usize>,
    ) -> Result<(), String> {
        let MatMulKernel { m, .. } = self.kernel;
        let units = m.div_ceil(self.unit);
        let row = |panel: usize| (self.unit * (panel * units / self.panels)).min(m);
        let start = |panel: usize| (panel / self.panels, row(panel % self.panels));
        if let Some(cuts) = &self.cuts
            && context.threads
            && panels.len() > 1
        {
            let middle = panels.start + panels.len() / 2;
            let (batch, first) = start(middle);
            let (mut left, mut right) = memory.split(&cut_at(cuts, batch * m + first));
            let (left, right) = rayon::join(
                || self.panels(context, &mut left, turned, panels.start..middle),
                || self.panels(context, &mut right, turned, middle..panels.end),
            );
            return left.and(right);
        }
        // What is shared out is not divided further.
        let context = Context {
            threads: context.threads && self.cuts.is_none(),
            ..context
        };
        for panel in panels {
            let (batch, first) = start(panel);
            let at = [batch, first, row(panel % self.panels + 1) - first];
            match self.out {
                Some(out) => self.panel_in_place(context, memory, turned, out, at)?,
                None => self.panel_aside(context, memory, turned, at)?,
            }
        }
        Ok(())
    }

    /// Makes some rows of the product where the result goes, then runs the epilogue over them.
    fn panel_in_place(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        turned: Option<gemm::Matrix<'_>>,
        out: Destination,
        [batch, first, rows]: [usize; 3],
    ) -> Result<(), String> {
        let operands = memory.read_only(&self.a).zip(memory.read_only(&self.b));
        let Some((a, b)) = operands else {
            return Err(MISFIT.into());
        };
        let at = out.offset + batch * out.batch + first * out.row;
        let mut target = memory.write(&out.place);
        let words = target.floats(at);
        let a = view(&self.kernel.a, a.floats(0), batch, first);
        let b = turned.unwrap_or_else(|| view(&self.kernel.b, b.floats(0), batch, 0));
        self.product(context, words, out.row, [a, b], rows)?;
        self.finish(context, memory, [batch, first, rows]);
        Ok(())
    }

    /// Makes some rows of the product in scratch memory, from where the epilogue takes them.
    fn panel_aside(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        turned: Option<gemm::Matrix<'_>>,
        [batch, first, rows]: [usize; 3],
    ) -> Result<(), String> {
        // Taken, as the transposed matrix.
        let mut scratch = SCRATCH.take();
        let n = self.kernel.n;
        scratch.grow(rows * n);
        let operand = |place| memory.read(place).floats(0);
        let a = view(&self.kernel.a, operand(&self.a), batch, first);
        let b = turned.unwrap_or_else(|| view(&self.kernel.b, operand(&self.b), batch, 0));
        let words = bytemuck::cast_slice_mut(&mut scratch);
        let done = self.product(context, words, n, [a, b], rows);
        let mut memory = memory.with_product(&scratch, (batch * self.kernel.m + first) * n);
        self.finish(context, &mut memory, [batch, first, rows]);
        SCRATCH.set(scratch);
        done
    }

    fn product(
        &self,
        context: Context<'_>,
        out: &mut [f32],
        out_stride: usize,
        [a, b]: [gemm::Matrix<'_>; 2],
        rows: usize,
    ) -> Result<(), String> {
        let MatMulKernel { n, k, .. } = self.kernel;
        let threads = context.threads && work([rows, n, k]) >= THREADS_FROM;
        let done = gemm(
            [rows, n, k],
            out,
            out_stride,
            [a, b],
            Onto::Nothing,
            threads,
        );
        done.then_some(()).ok_or_else(|| MISFIT.into())
    }

    /// Runs the epilogue over some rows of the product.
    fn finish(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        [batch, first, rows]: [usize; 3],
    ) {
        let Some(epilogue) = &self.epilogue else {
            return;
        };
        let line = batch * self.kernel.m + first;
        let each = epilogue.rows() / (self.kernel.batch * self.kernel.m).max(1);
        epilogue.run(context, memory, line * each..(line + rows) * each);
    }
}

/// Floating-point operations of a product.
fn work([m, n, k]: [usize; 3]) -> usize {
    m.saturating_mul(n).saturating_mul(k).saturating_mul(2)
}

const MISFIT: &str = "a matrix does not fit its memory";

/// Checks that a matrix of this size lies inside of its operand.
fn fits(
    matrix: &Matrix,
    [rows, cols]: [usize; 2],
    batch: usize,
    place: &Place,
) -> Result<(), String> {
    let (rows, cols) = if matrix.transposed {
        (cols, rows)
    } else {
        (rows, cols)
    };
    if rows == 0 || cols == 0 || batch == 0 {
        return Ok(());
    }
    let end = matrix.offset + (batch - 1) * matrix.batch_stride + (rows - 1) * matrix.row_stride;
    let (end, found) = (end + cols, place.len);
    if end > found {
        return Err(format!(
            "operand {} has {found} words, but {end} are used",
            matrix.operand
        ));
    }
    Ok(())
}

/// A matrix of the batch, from row `first` on, with its strides.
fn view<'a>(matrix: &Matrix, words: &'a [f32], batch: usize, first: usize) -> gemm::Matrix<'a> {
    let (row_stride, col_stride) = match matrix.transposed {
        false => (matrix.row_stride, 1),
        true => (1, matrix.row_stride),
    };
    let at = matrix.offset + batch * matrix.batch_stride + first * row_stride;
    gemm::Matrix {
        words: words.get(at..).unwrap_or_default(),
        row_stride,
        col_stride,
    }
}
