//! What the choice of a variant needs to know of a product.

use gradus_graph::ops::Direction;
use gradus_graph::plan::{ConvKernel, MatMulKernel};

use super::phases::Phases;

/// The sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Products; groups of a convolution.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms summed.
    pub k: usize,
    /// Whether neighbours of the right operand in memory are neighbours along K.
    pub along_k: bool,
    /// Whether an operand is that of a convolution, an element of which takes arithmetic to find.
    pub gathered: bool,
}

impl From<&MatMulKernel> for Form {
    fn from(kernel: &MatMulKernel) -> Self {
        Self {
            batch: kernel.batch,
            m: kernel.m,
            n: kernel.n,
            k: kernel.k,
            along_k: kernel.b.transposed,
            gathered: false,
        }
    }
}

impl From<&ConvKernel> for Form {
    fn from(kernel: &ConvKernel) -> Self {
        let [groups, m, mut n, mut k] = kernel.conv.product(kernel.images);
        let mut batch = groups;
        if let Some(phases) = Phases::of(&kernel.conv) {
            (batch, n, k) = (
                groups * phases.count(),
                kernel.images * phases.len(),
                phases.terms(),
            );
        }
        Self {
            batch,
            m,
            n,
            k,
            along_k: kernel.conv.direction == Direction::Weight,
            gathered: true,
        }
    }
}
