//! Attention and its gradient, a block of queries at a time: what is in memory of the matrix of
//! weights is some rows of one head.

mod backward;
mod forward;
mod weights;

use std::cell::RefCell;

use gradus_graph::DType;
use gradus_graph::plan::{AttentionKernel, AttentionPass, HeadRows};

use self::weights::{Mask, Setting};
use super::context::Context;
use super::gemm::Matrix;
use super::memory::{Memory, Place};
use super::words::Words;

/// Words of the weights of a block of queries, if the block has any choice.
const BLOCK: usize = 1 << 15;
/// Queries of a block: a product of fewer rows is slow, more leave the nearer caches.
const QUERIES: std::ops::RangeInclusive<usize> = 16..=128;
/// Floating-point operations from which several threads are worth their start.
const THREADS_FROM: u64 = 1_000_000;

const MISFIT: &str = "heads do not fit their memory";

thread_local! {
    /// Weights of a block of queries, and their gradients.
    static BLOCKS: RefCell<Words> = RefCell::default();
    /// Results head by head, before they go where they belong.
    static RESULTS: RefCell<Words> = RefCell::default();
}

/// Attention or its gradient, ready to run.
#[derive(Debug)]
pub(super) struct Attention {
    kernel: AttentionKernel,
    places: Vec<Place>,
    /// The dtype of the mask.
    mask: DType,
    threads: bool,
}

impl Attention {
    /// Prepares it, with a mask of this dtype.
    ///
    /// # Errors
    /// If it reaches outside of its operands.
    pub(super) fn new(
        kernel: &AttentionKernel,
        mask: DType,
        flops: u64,
        places: &[Place],
    ) -> Result<Self, String> {
        let attention = Self {
            kernel: kernel.clone(),
            places: places.to_vec(),
            mask,
            threads: flops >= THREADS_FROM,
        };
        let s = &kernel.sizes;
        let (queries, keys) = ([s.queries, s.heads], [s.keys, s.groups]);
        let (d, e) = (s.width, s.value_width);
        attention.fits(&kernel.q, queries, d)?;
        attention.fits(&kernel.k, keys, d)?;
        attention.fits(&kernel.v, keys, e)?;
        let sums = s.batch * s.heads * s.queries;
        match &kernel.pass {
            AttentionPass::Forward { y, log_sum } => {
                attention.fits(y, queries, e)?;
                log_sum.map_or(Ok(()), |l| attention.holds(l, sums))?;
            }
            AttentionPass::Backward {
                y,
                dy,
                log_sum,
                dq,
                dk,
                dv,
            } => {
                attention.fits(y, queries, e)?;
                attention.fits(dy, queries, e)?;
                attention.holds(*log_sum, sums)?;
                for (rows, sizes, width) in [(dq, queries, d), (dk, keys, d), (dv, keys, e)] {
                    rows.map_or(Ok(()), |r| attention.fits(&r, sizes, width))?;
                }
            }
        }
        if let Some(mask) = &kernel.mask {
            let full = [s.batch, s.heads, s.queries, s.keys];
            let last = mask.strides.iter().zip(full).map(|(s, n)| s * (n - 1));
            attention.holds(mask.operand, last.sum::<usize>() + 1)?;
        }
        Ok(attention)
    }

    fn fits(
        &self,
        rows: &HeadRows,
        [positions, heads]: [usize; 2],
        w: usize,
    ) -> Result<(), String> {
        let sizes = [self.kernel.sizes.batch, positions, heads];
        let last = rows.strides.iter().zip(sizes).map(|(s, n)| s * (n - 1));
        self.holds(rows.operand, rows.offset + last.sum::<usize>() + w)
    }

    fn holds(&self, operand: usize, words: usize) -> Result<(), String> {
        match self.places.get(operand) {
            Some(place) if place.len >= words => Ok(()),
            _ => Err(format!(
                "operand {operand} is missing or has fewer than {words} words"
            )),
        }
    }

    /// Computes it.
    ///
    /// # Errors
    /// If an operand is smaller than it was said to be.
    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>) -> Result<(), String> {
        match self.kernel.pass {
            AttentionPass::Forward { y, log_sum } => {
                forward::run(self, context, memory, y, log_sum)
            }
            AttentionPass::Backward { .. } => backward::run(self, context, memory),
        }
    }

    /// Queries of a block.
    fn block(&self) -> usize {
        let s = &self.kernel.sizes;
        let rows = BLOCK / s.keys.max(1);
        rows.clamp(*QUERIES.start(), *QUERIES.end()).min(s.queries)
    }

    /// The keys that a block that ends before this query attends to.
    fn keys(&self, end: usize) -> usize {
        let keys = self.kernel.sizes.keys;
        if self.kernel.op.causal {
            keys.min(end)
        } else {
            keys
        }
    }

    /// The operand of some rows.
    fn floats<'m>(&self, memory: &'m Memory<'_>, operand: usize) -> &'m [f32] {
        let place = self.places.get(operand);
        place.map_or(&[], |place| memory.read(place).floats(0))
    }

    /// How the weights of this head are made.
    fn setting<'m>(
        &self,
        context: Context<'_>,
        memory: &'m Memory<'_>,
        [b, h]: [usize; 2],
    ) -> Setting<'m> {
        let (op, s) = (&self.kernel.op, &self.kernel.sizes);
        let mask = self.kernel.mask.and_then(|mask| {
            let place = self.places.get(mask.operand)?;
            let [sample, head, query, key] = mask.strides;
            let words = memory.read(place).after(to_i64(b * sample + h * head))?;
            Some(Mask {
                words,
                is_bool: self.mask == DType::Bool,
                query,
                key,
            })
        });
        Setting {
            #[allow(clippy::cast_possible_truncation, reason = "products have f32")]
            scale: op.scale as f32,
            causal: op.causal,
            mask,
            dropout: op.dropout.map(|d| weights::Drop::new(&d, context.row)),
            first: (b * s.heads + h) * s.queries * s.keys,
            keys: s.keys,
        }
    }
}

/// The rows of one head from a position on.
fn rows<'m>(all: &'m [f32], rows: &HeadRows, [b, t, h]: [usize; 3]) -> Result<Matrix<'m>, String> {
    let [sample, position, head] = rows.strides;
    let start = rows.offset + b * sample + t * position + h * head;
    Ok(Matrix {
        words: all.get(start..).ok_or(MISFIT)?,
        row_stride: position,
        col_stride: 1,
    })
}

/// The same matrix, its rows as columns.
fn turned(matrix: Matrix<'_>) -> Matrix<'_> {
    Matrix {
        row_stride: matrix.col_stride,
        col_stride: matrix.row_stride,
        ..matrix
    }
}

/// A matrix whose rows of so many elements lie one after the other.
fn dense(words: &[f32], cols: usize) -> Matrix<'_> {
    Matrix {
        words,
        row_stride: cols,
        col_stride: 1,
    }
}

/// Puts rows of this width, those of one head after the other, where they belong.
fn put(to: &mut [f32], rows: &HeadRows, [b, h]: [usize; 2], from: &[f32], width: usize) {
    let [sample, position, head] = rows.strides;
    let start = rows.offset + b * sample + h * head;
    for (t, row) in from.chunks_exact(width.max(1)).enumerate() {
        let at = start + t * position;
        if let Some(to) = to.get_mut(at..at + width) {
            to.copy_from_slice(row);
        }
    }
}

fn to_i64(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}
