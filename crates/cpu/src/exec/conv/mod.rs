//! Convolutions in all directions, with an epilogue.
//!
//! Each is a product of matrices for each image and group, of which one is gathered from an image
//! beforehand ([`columns`]), some images or a part of one at a time, so that it stays in the cache.

mod columns;
mod direct;
mod factor;
mod images;
mod padded;
mod weight;

use std::cell::RefCell;

use gradus_graph::ops::Direction;
use gradus_graph::plan::ConvKernel;

use self::factor::{Factor, Held};
use self::images::Images;
use self::weight::Weight;
use super::context::Context;
use super::gemm::Matrix;
use super::memory::{Memory, Place};
use super::product::{Destination, with_product};
use super::program::Compiled;
use super::words::Words;

/// Words of gathered elements that are multiplied while they are in the second-level cache.
const BLOCK: usize = 1 << 17;
/// Columns that a product should have, if there are so many.
const COLUMNS: usize = 512;
/// Floating-point operations from which a convolution may use several threads.
const THREADS_FROM: usize = 4_000_000;
/// Floating-point operations that a thread takes at a time, if it can choose.
const TASK: usize = 1_000_000;

const MISFIT: &str = "an image or a weight does not fit its memory";

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Memory of a thread, for any convolution.
#[derive(Debug, Default)]
struct Scratch {
    /// Gathered elements.
    columns: Words,
    /// A product before it goes where it belongs, or a factor in another order.
    staged: Words,
    /// The result, if it has no place in an operand.
    product: Words,
    /// Operands that are computed.
    factors: [Words; 2],
}

/// A convolution, ready to run.
#[derive(Debug)]
pub(super) enum Conv {
    /// Toward the output or the input: each image has a result.
    Images(Images),
    /// Toward the weight: all images have one.
    Weight(Weight),
}

/// What all directions know.
#[derive(Debug)]
struct Common {
    images: usize,
    groups: usize,
    /// Channels of `x` and of `y` in a group.
    inputs: usize,
    outputs: usize,
    /// The first operand.
    a: Factor,
    /// The second.
    b: Factor,
    /// The operand that the result is made in, if the epilogue can run in place.
    out: Option<Destination>,
    epilogue: Option<Compiled>,
    /// Floating-point operations.
    work: usize,
}

impl Conv {
    /// Prepares a convolution whose operands lie at these places.
    ///
    /// # Errors
    /// If it is malformed or reaches outside of its operands.
    pub(super) fn new(kernel: &ConvKernel, places: &[Place]) -> Result<Self, String> {
        let ConvKernel { conv, images, .. } = kernel;
        let images = *images;
        let sizes = sizes(kernel)?;
        let [x, y] = [sizes.x, sizes.y].map(|all| [images, all / images.max(1)]);
        let [a_size, b_size] = match conv.direction {
            Direction::Output => [x, [1, sizes.w]],
            Direction::Input => [y, [1, sizes.w]],
            Direction::Weight => [x, y],
        };
        let a = Factor::new(&kernel.a, places, a_size)?;
        let b = Factor::new(&kernel.b, places, b_size)?;
        let factors = [&kernel.a, &kernel.b]
            .map(|factor| factor.operands())
            .concat();
        let result = conv.result(images);
        let [lines, ..] = result;
        let out = Destination::find(&kernel.epilogue, result, &factors, places)
            .filter(|out| conv.direction != Direction::Weight || out.row == result[2]);
        let (program, inner) = with_product(&kernel.epilogue, result, places, out.as_ref());
        let epilogue = if program.stores.is_empty() {
            None
        } else {
            Some(Compiled::for_lines(&program, &inner, lines)?)
        };
        let common = Common {
            images,
            groups: conv.groups,
            inputs: conv.inputs,
            outputs: conv.outputs,
            a,
            b,
            out,
            epilogue,
            work: sizes.work,
        };
        Ok(match (conv.direction, kernel.row_sum) {
            (Direction::Weight, to) => Self::Weight(Weight::new(common, conv, to, places)?),
            (_, None) => Self::Images(Images::new(common, kernel, places)),
            _ => return Err("only a weight's gradient has a bias beside it".into()),
        })
    }

    /// Computes it.
    ///
    /// # Errors
    /// If an operand is smaller than it was said to be.
    pub(super) fn run(&self, context: Context<'_>, memory: &mut Memory<'_>) -> Result<(), String> {
        match self {
            Self::Images(images) => images.run(context, memory),
            Self::Weight(weight) => weight.run(context, memory),
        }
    }
}

/// Elements of all tensors and the work of a convolution.
struct Sizes {
    x: usize,
    w: usize,
    y: usize,
    work: usize,
}

fn sizes(kernel: &ConvKernel) -> Result<Sizes, String> {
    let conv = &kernel.conv;
    let product = |factors: &[usize], windows: &[usize]| {
        let mut factors = factors.iter().chain(windows);
        factors.try_fold(1usize, |n, f| n.checked_mul(*f))
    };
    let (q, k, p): (Vec<_>, Vec<_>, Vec<_>) = (
        conv.windows.iter().map(|w| w.input).collect(),
        conv.windows.iter().map(|w| w.size).collect(),
        conv.windows.iter().map(|w| w.output).collect(),
    );
    let [n, g, c, o] = [kernel.images, conv.groups, conv.inputs, conv.outputs];
    let taps = product(&[2, n, g, c, o], &k);
    let found = || {
        Some(Sizes {
            x: product(&[n, g, c], &q)?,
            w: product(&[g, c, o], &k)?,
            y: product(&[n, g, o], &p)?,
            work: taps.and_then(|taps| product(&[taps], &p))?,
        })
    };
    found().ok_or_else(|| "the convolution is too large".into())
}

/// A matrix whose columns are adjacent.
fn rows(words: &[f32], row_stride: usize) -> Matrix<'_> {
    Matrix {
        words,
        row_stride,
        col_stride: 1,
    }
}

/// A part of some words, or nothing if it is not there.
fn part(words: &[f32], start: usize, len: usize) -> &[f32] {
    words.get(start..start + len).unwrap_or_default()
}

/// Words of scratch memory as floats, at least so many.
fn floats(words: &mut Words, len: usize) -> &mut [f32] {
    words.grow(len);
    bytemuck::cast_slice_mut(words.get_mut(..len).unwrap_or_default())
}
