//! `Var`: the symbolic value that layers compute with.

mod attention;
mod conv;
mod einsum;
mod indexing;
mod operand;
mod operators;
mod order;
mod reduce;
mod resize;
mod shape;
mod spatial;
mod statistics;

use std::fmt;
use std::sync::Arc;

use crate::ops::{
    Binary, Composite, CrossEntropy, Expand, LogSoftmax, MatMul, Meta, Op, Pad, Permute, Reshape,
    Slice, Softmax, Unary,
};
use crate::{DType, Graph, IntoShape, NodeId, Scalar, Shape};
use operand::convert;

pub use attention::AttentionOptions;
pub use operand::{Operand, Select};
pub use resize::{Border, PerAxisFactor, PerSide, UpsampleOptions};
pub use spatial::{ConvOptions, Padding, PerAxis, PoolOptions};

/// A symbolic value: the result of a node of a [`Graph`], with its shape and dtype.
///
/// Arithmetic broadcasts as NumPy does. Nothing here panics or returns `Result`: an op whose
/// inputs do not fit gives a poisoned `Var`, and [`Graph::check`] returns the first cause.
#[derive(Clone, Copy)]
pub struct Var<'g> {
    graph: &'g Graph,
    id: NodeId,
    meta: Meta,
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{} {}{}", self.id.0, self.meta.dtype, self.meta.shape)
    }
}

impl<'g> Var<'g> {
    pub(crate) const fn new(graph: &'g Graph, id: NodeId, meta: Meta) -> Self {
        Self { graph, id, meta }
    }

    /// The graph this belongs to.
    pub const fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// The node this is the result of.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Shape and dtype.
    pub const fn meta(&self) -> Meta {
        self.meta
    }

    /// The shape; `[]` for a poisoned `Var`.
    pub const fn shape(&self) -> Shape {
        self.meta.shape
    }

    /// The dtype.
    pub const fn dtype(&self) -> DType {
        self.meta.dtype
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.meta.shape.rank()
    }

    /// The size of one axis, counting from the end when negative; 1 if there is no such axis.
    pub fn dim(&self, axis: isize) -> usize {
        self.meta.shape.axis(axis).map_or(1, |a| self.meta.shape[a])
    }

    /// True if this or something it was made from could not be built.
    pub fn is_poisoned(&self) -> bool {
        self.id == NodeId::POISON
    }

    /// What stands for a value that could not be built.
    pub(crate) fn poison(self) -> Self {
        self.graph.var(NodeId::POISON)
    }

    #[track_caller]
    pub(crate) fn apply(self, op: Op, more: &[Self]) -> Self {
        let inputs: Vec<Self> = std::iter::once(self).chain(more.iter().copied()).collect();
        self.graph.apply(op, &inputs)
    }

    #[track_caller]
    pub(crate) fn unary(self, op: Unary) -> Self {
        self.apply(Op::Unary(op), &[])
    }

    #[track_caller]
    pub(crate) fn binary(self, op: Binary, other: impl Operand<'g>) -> Self {
        let other = other.operand(self);
        match broadcast(op.name(), [self, other]) {
            Some([a, b]) => a.apply(Op::Binary(op), &[b]),
            None => self.poison(),
        }
    }

    /// A function that stays one node; see [`Composite`].
    #[track_caller]
    pub fn composite(self, op: impl Composite + 'static, more: &[Self]) -> Self {
        self.apply(Op::Composite(Arc::new(op)), more)
    }

    /// `then` where this (bool) holds, else `otherwise`; all three broadcast.
    #[track_caller]
    pub fn select(self, then: impl Operand<'g>, otherwise: impl Select<'g>) -> Self {
        let (then, otherwise) = otherwise.pair(self, then);
        match broadcast("select", [self, then, otherwise]) {
            Some([c, a, b]) => c.apply(Op::Select, &[a, b]),
            None => self.poison(),
        }
    }

    /// Converts; float to integer truncates and saturates, NaN gives 0; to bool tests for ≠ 0.
    #[track_caller]
    pub fn cast(self, dtype: DType) -> Self {
        if self.dtype() == dtype {
            self
        } else {
            self.apply(Op::Cast(dtype), &[])
        }
    }

    /// The same value, through which no gradient flows.
    #[track_caller]
    pub fn stop_gradient(self) -> Self {
        self.apply(Op::StopGradient, &[])
    }

    /// These indices, checked to lie in `0..bound` when the step runs: another index becomes 0
    /// and makes the step an error that names the layer and the value.
    #[track_caller]
    pub fn check_index(self, bound: u32) -> Self {
        self.apply(Op::CheckIndex { bound }, &[])
    }

    // Views.

    /// The same elements, in row-major order, under another shape.
    #[track_caller]
    pub fn reshape(self, shape: impl IntoShape) -> Self {
        let dims = shape.dims();
        match Shape::try_new(&dims) {
            Some(shape) if shape == self.shape() => self,
            Some(shape) => self.apply(Op::Reshape(Reshape { shape }), &[]),
            None => self.graph.fail("reshape", format!("{dims:?} is too large")),
        }
    }

    /// All axes from `start` on as one.
    #[track_caller]
    pub fn flatten(self, start: usize) -> Self {
        let shape = self.shape();
        let keep = start.min(shape.rank());
        let dims = [&shape[..keep], &[shape[keep..].iter().product()]].concat();
        self.reshape(dims)
    }

    /// Broadcasts to `shape`, as NumPy does.
    #[track_caller]
    pub fn expand(self, shape: impl IntoShape) -> Self {
        let dims = shape.dims();
        let Some(shape) = Shape::try_new(&dims) else {
            return self.graph.fail("expand", format!("{dims:?} is too large"));
        };
        if shape == self.shape() {
            return self;
        }
        let missing = shape.rank().saturating_sub(self.rank());
        let aligned = self.reshape([&vec![1; missing][..], &self.shape()[..]].concat());
        if aligned.shape() == shape {
            return aligned;
        }
        aligned.apply(Op::Expand(Expand { shape }), &[])
    }

    /// Reorders the axes: axis `i` of the result is axis `axes[i]` of this.
    #[track_caller]
    pub fn permute(self, axes: &[usize]) -> Self {
        self.apply(
            Op::Permute(Permute {
                axes: axes.to_vec(),
            }),
            &[],
        )
    }

    /// Swaps the last two axes.
    #[track_caller]
    pub fn transpose(self) -> Self {
        let rank = self.rank();
        if rank < 2 {
            return self.graph.fail(
                "transpose",
                format!("{} has fewer than 2 axes", self.shape()),
            );
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(&axes)
    }

    /// The range `start..stop` of every axis, every `step`-th position.
    #[track_caller]
    pub fn slice(self, start: &[usize], stop: &[usize], step: &[usize]) -> Self {
        let op = Slice {
            start: start.to_vec(),
            stop: stop.to_vec(),
            step: step.to_vec(),
        };
        self.apply(Op::Slice(op), &[])
    }

    /// Surrounds with a constant: so many elements before and after each axis.
    #[track_caller]
    pub fn pad(self, before: &[usize], after: &[usize], value: impl Into<Scalar>) -> Self {
        if before.iter().chain(after).all(|&n| n == 0)
            && [before.len(), after.len()] == [self.rank(); 2]
        {
            return self;
        }
        let value = convert(value.into(), self.dtype());
        let op = Pad {
            before: before.to_vec(),
            after: after.to_vec(),
            value,
        };
        self.apply(Op::Pad(op), &[])
    }

    // Linear algebra, composites.

    /// Matrix product over the last two axes; batch axes broadcast. A vector (one axis) counts
    /// as a row on the left and as a column on the right, as in NumPy.
    #[track_caller]
    pub fn matmul(self, other: Self) -> Self {
        let (a, b) = (self, other);
        if a.is_poisoned() || b.is_poisoned() {
            return self.poison();
        }
        match (a.rank(), b.rank()) {
            (0, _) | (_, 0) => {
                let message = format!("lhs {} and rhs {}: a scalar", a.shape(), b.shape());
                self.graph.fail("matmul", message)
            }
            (1, _) => {
                let y = a.reshape([1, a.dim(0)]).matmul(b);
                let mut dims = y.shape().to_vec();
                if dims.len() >= 2 {
                    dims.remove(dims.len() - 2);
                } else {
                    dims.remove(0);
                }
                y.reshape(dims)
            }
            (_, 1) => {
                let y = a.matmul(b.reshape([b.dim(0), 1]));
                y.reshape(&y.shape()[..y.rank().saturating_sub(1)])
            }
            // One matrix on the right serves all rows of all batches: a single product.
            (ra, 2) if ra > 2 => {
                let rows = a.shape()[..ra - 1].iter().product();
                let y = a.reshape([rows, a.dim(-1)]).matmul(b);
                let dims = [&a.shape()[..ra - 1], &[b.dim(-1)]].concat();
                if y.is_poisoned() { y } else { y.reshape(dims) }
            }
            (ra, rb) => {
                let (sa, sb) = (a.shape(), b.shape());
                let batch = Shape::of(&sa[..ra - 2]).broadcast(&Shape::of(&sb[..rb - 2]));
                let Some(batch) = batch else {
                    let message = format!("batch axes of lhs {sa} and rhs {sb} do not broadcast");
                    return self.graph.fail("matmul", message);
                };
                let a = a.expand([&batch[..], &sa[ra - 2..]].concat());
                let b = b.expand([&batch[..], &sb[rb - 2..]].concat());
                a.apply(Op::MatMul(MatMul::default()), &[b])
            }
        }
    }

    /// Softmax over the last axis; see [`Softmax`].
    #[track_caller]
    pub fn softmax(self) -> Self {
        self.composite(Softmax, &[])
    }

    /// Logarithm of softmax over the last axis; see [`LogSoftmax`].
    #[track_caller]
    pub fn log_softmax(self) -> Self {
        self.composite(LogSoftmax, &[])
    }

    /// Cross-entropy of these class scores `[…, C]` with labels `[…]`, row by row; see
    /// [`CrossEntropy`].
    #[track_caller]
    pub fn cross_entropy(self, labels: Self) -> Self {
        self.composite(CrossEntropy, &[labels])
    }

    /// `x` rounded toward zero.
    #[track_caller]
    pub fn trunc(self) -> Self {
        self.lt(0.0).select(self.ceil(), self.floor())
    }
}

/// Expands all to their common shape; `None`, with the mistake recorded, if there is none.
#[track_caller]
fn broadcast<'g, const N: usize>(op: &'static str, vars: [Var<'g>; N]) -> Option<[Var<'g>; N]> {
    if vars.iter().any(Var::is_poisoned) {
        return None;
    }
    let shape = vars
        .iter()
        .try_fold(Shape::SCALAR, |shape, v| shape.broadcast(&v.shape()));
    let Some(shape) = shape else {
        let shapes: Vec<String> = vars.iter().map(|v| v.shape().to_string()).collect();
        let message = format!("shapes {} do not broadcast", shapes.join(" and "));
        vars.first()?.graph().fail(op, message);
        return None;
    };
    Some(vars.map(|v| v.expand(shape)))
}
