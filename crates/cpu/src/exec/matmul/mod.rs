//! Matrix products with an epilogue.

mod epilogue;

use std::cell::RefCell;

use gradus_graph::plan::{MatMulKernel, Matrix};

use self::epilogue::{Destination, row_sum, with_product};
use super::context::Context;
use super::gemm::{self, gemm};
use super::memory::{Memory, Place};
use super::program::Compiled;
use super::words::Words;

/// Words of a panel: some rows of the product, that stay in the second-level cache until the
/// epilogue has run over them.
const PANEL: usize = 1 << 17;
/// Floating-point operations from which a product may use several threads.
const THREADS_FROM: usize = 32_000_000;

thread_local! {
    /// Where panels lie that cannot be made in place.
    static SCRATCH: RefCell<Words> = RefCell::default();
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
    /// Rows of a panel.
    panel: usize,
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
        let (a, b) = (find(kernel.a.operand)?, find(kernel.b.operand)?);
        fits(&kernel.a, [kernel.m, kernel.k], kernel.batch, &a)?;
        fits(&kernel.b, [kernel.k, kernel.n], kernel.batch, &b)?;
        let out = Destination::find(kernel, places);
        let (program, places) = with_product(kernel, places, out.as_ref());
        let epilogue = if program.stores.is_empty() {
            None
        } else {
            Some(Compiled::for_lines(
                &program,
                &places,
                kernel.batch * kernel.m,
            )?)
        };
        let row_sum = kernel
            .row_sum
            .map(|to| Compiled::new(&row_sum(kernel, to), &places));
        let mut panel = kernel.m.max(1);
        if epilogue.is_some() {
            panel = (PANEL / kernel.n.max(1)).clamp(1, panel);
        }
        let row_sum = row_sum.transpose()?;
        Ok(Self {
            kernel: kernel.clone(),
            a,
            b,
            out,
            epilogue,
            row_sum,
            panel,
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
        for batch in 0..self.kernel.batch {
            for first in (0..self.kernel.m).step_by(self.panel) {
                let rows = self.panel.min(self.kernel.m - first);
                match self.out {
                    Some(out) => self.panel_in_place(context, memory, out, [batch, first, rows])?,
                    None => self.panel_aside(context, memory, [batch, first, rows])?,
                }
            }
        }
        Ok(())
    }

    /// Makes some rows of the product where the result goes, then runs the epilogue over them.
    fn panel_in_place(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
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
        let (a, b) = (a.floats(0), b.floats(0));
        self.product(context, words, out.row, [a, b], [batch, first, rows])?;
        self.finish(context, memory, [batch, first, rows]);
        Ok(())
    }

    /// Makes some rows of the product in scratch memory, from where the epilogue takes them.
    fn panel_aside(
        &self,
        context: Context<'_>,
        memory: &mut Memory<'_>,
        [batch, first, rows]: [usize; 3],
    ) -> Result<(), String> {
        // Taken, not borrowed: while other threads help, this one may begin another product.
        let mut scratch = SCRATCH.take();
        let n = self.kernel.n;
        scratch.grow(rows * n);
        let (a, b) = (
            memory.read(&self.a).floats(0),
            memory.read(&self.b).floats(0),
        );
        let words = bytemuck::cast_slice_mut(&mut scratch);
        let done = self.product(context, words, n, [a, b], [batch, first, rows]);
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
        [a, b]: [&[f32]; 2],
        [batch, first, rows]: [usize; 3],
    ) -> Result<(), String> {
        let MatMulKernel { n, k, .. } = self.kernel;
        let a = view(&self.kernel.a, a, batch, first);
        let b = view(&self.kernel.b, b, batch, 0);
        let work = rows.saturating_mul(n).saturating_mul(k).saturating_mul(2);
        let threads = context.threads && work >= THREADS_FROM;
        let done = gemm([rows, n, k], out, out_stride, a, b, threads);
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
