//! The op set: for each op its shape rule and its gradient.

mod attention;
mod composite;
mod conv;
mod elementwise;
mod gather;
mod layer_norm;
mod matmul;
mod norm;
mod pool;
mod real;
mod reduce;
mod resample;
mod scan;
mod slice_update;
mod sort;
mod view;
mod window;

use std::sync::Arc;

pub use attention::{Attention, AttentionPart, AttentionSizes, Dropout, EXCLUDED, Heads};
pub(crate) use composite::dropout;
pub use composite::{Composite, CrossEntropy, LogSoftmax, Softmax};
pub use conv::{Conv, Direction};
pub use elementwise::{Binary, Unary};
pub use gather::{FirstPosition, Gather, ScatterAdd};
pub use layer_norm::LayerNorm;
pub use matmul::MatMul;
pub use norm::{Normalize, Sharing};
pub use pool::FirstMax;
pub use real::Real;
pub use reduce::{ArgReduce, Reduce, Reduction};
pub use resample::{Resample, Resampling, Rule, Step};
pub use scan::{Scan, Scanning};
pub(crate) use scan::{around, shifted};
pub use slice_update::SliceUpdate;
pub use sort::ArgSort;
pub use view::{Concat, Expand, Flip, Pad, Permute, Reshape, Slice};
pub use window::{Slide, Window};

use crate::{Array, DType, Scalar, Shape, Var};

/// Shape and dtype of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// The shape.
    pub shape: Shape,
    /// The dtype.
    pub dtype: DType,
}

impl Meta {
    /// Shape and dtype.
    pub const fn new(shape: Shape, dtype: DType) -> Self {
        Self { shape, dtype }
    }

    /// Bytes in device memory, without padding.
    pub fn bytes(&self) -> usize {
        self.shape.numel() * self.dtype.bytes()
    }
}

/// What a node computes. `infer` has its shape rule, `vjp` its gradient.
#[derive(Clone, Debug)]
pub enum Op {
    /// A value fed at every step: the index into the graph's inputs.
    Input(u32),
    /// A trained parameter: the index into the graph's parameters.
    Param(u32),
    /// Rows of a parameter that no binding holds, from its element `first` on: a leaf of plans.
    ParamRows {
        /// The index into the graph's parameters.
        param: u32,
        /// The first element.
        first: usize,
    },
    /// A value kept between steps and not trained: the index into the graph's states.
    State(u32),
    /// One scalar, everywhere.
    Const(Scalar),
    /// A host array.
    Literal(Arc<Array>),
    /// `i32` positions along one axis.
    Iota(usize),
    /// Random bits, `u32`, new at every step; see [`crate::philox`].
    Random {
        /// The stream: a hash of layer path and ordinal.
        stream: u64,
    },
    /// A word of the step row, as `f32` (scalar).
    StepWord(u32),
    /// A pointwise op of one argument.
    Unary(Unary),
    /// A pointwise op of two arguments of one shape.
    Binary(Binary),
    /// `[condition, then, otherwise]`, all of one shape: `then` where the condition holds. The
    /// gradient goes to the one that was taken.
    Select,
    /// Conversion; float to integer truncates and saturates, NaN gives 0. From a float to a float
    /// the gradient stays.
    Cast(DType),
    /// Passes indices in `0..bound`; others become 0 and are recorded as an error of the step.
    CheckIndex {
        /// One past the largest allowed index.
        bound: u32,
    },
    /// The same elements under another shape.
    Reshape(Reshape),
    /// Repeats axes of size 1.
    Expand(Expand),
    /// Reorders axes.
    Permute(Permute),
    /// Takes a strided range of every axis.
    Slice(Slice),
    /// Reverses axes.
    Flip(Flip),
    /// Surrounds with a constant.
    Pad(Pad),
    /// Joins along one axis.
    Concat(Concat),
    /// Takes the taps of a moving window.
    Slide(Slide),
    /// Reduces axes to size 1.
    Reduce(Reduce),
    /// The first position of the largest or smallest element along one axis (to size 1), `i32`.
    ArgReduce(ArgReduce),
    /// Running results along one axis.
    Scan(Scan),
    /// Positions along the last axis in the order of their elements, `i32`.
    ArgSort(ArgSort),
    /// Batched matrix product.
    MatMul(MatMul),
    /// Convolution, or one of its gradients.
    Conv(Conv),
    /// Attention, or something that its gradient needs.
    Attention(Attention),
    /// Rows of a table.
    Gather(Gather),
    /// Sums rows into a table. A third input may name the order of the indices, as
    /// [`Op::ArgSort`] gives it; it does not change the result.
    ScatterAdd(ScatterAdd),
    /// Where each row of a table is named first.
    FirstPosition(FirstPosition),
    /// Other rows for each sample, from a place of its own on.
    SliceUpdate(SliceUpdate),
    /// The identity, with no gradient.
    StopGradient,
    /// A function made of other ops, kept as one node until lowering.
    Composite(Arc<dyn Composite>),
}

impl Op {
    /// The op's name in messages and plans.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input(_) => "input",
            Self::Param(_) | Self::ParamRows { .. } => "param",
            Self::State(_) => "state",
            Self::Const(_) => "const",
            Self::Literal(_) => "literal",
            Self::Iota(_) => "iota",
            Self::Random { .. } => "random",
            Self::StepWord(_) => "step_word",
            Self::Unary(op) => op.name(),
            Self::Binary(op) => op.name(),
            Self::Select => "select",
            Self::Cast(_) => "cast",
            Self::CheckIndex { .. } => "check_index",
            Self::Reshape(_) => "reshape",
            Self::Expand(_) => "expand",
            Self::Permute(_) => "permute",
            Self::Slice(_) => "slice",
            Self::Flip(_) => "flip",
            Self::Pad(_) => "pad",
            Self::Concat(_) => "concat",
            Self::Slide(_) => "slide",
            Self::Reduce(op) => op.op.name(),
            Self::ArgReduce(op) => op.name(),
            Self::Scan(op) => op.op.name(),
            Self::ArgSort(_) => "argsort",
            Self::MatMul(_) => "matmul",
            Self::Conv(op) => op.name(),
            Self::Attention(op) => op.name(),
            Self::Gather(_) => "gather",
            Self::ScatterAdd(_) => "scatter_add",
            Self::FirstPosition(_) => "first_position",
            Self::SliceUpdate(_) => "slice_update",
            Self::StopGradient => "stop_gradient",
            Self::Composite(op) => op.name(),
        }
    }

    /// True for ops that read no other node.
    pub fn is_source(&self) -> bool {
        matches!(
            self,
            Self::Input(_)
                | Self::Param(_)
                | Self::ParamRows { .. }
                | Self::State(_)
                | Self::Const(_)
                | Self::Literal(_)
                | Self::Iota(_)
                | Self::Random { .. }
                | Self::StepWord(_)
        )
    }

    /// True for ops that only move elements.
    pub fn is_view(&self) -> bool {
        matches!(
            self,
            Self::Reshape(_)
                | Self::Expand(_)
                | Self::Permute(_)
                | Self::Slice(_)
                | Self::Flip(_)
                | Self::Pad(_)
                | Self::Concat(_)
                | Self::Slide(_)
        )
    }

    /// True for ops that no other is computed with: a kernel of their own reads their inputs from
    /// memory and writes their result there.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(
            self,
            Self::Attention(_)
                | Self::ScatterAdd(_)
                | Self::FirstPosition(_)
                | Self::Scan(_)
                | Self::ArgSort(_)
                | Self::SliceUpdate(_)
        )
    }

    /// Shape and dtype of the result for inputs of these shapes and dtypes; the message says
    /// which values clash and what was expected. Sources bring their own and are not asked.
    ///
    /// # Errors
    /// If the op is not defined for such inputs.
    pub fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let arity = |n: usize| {
            (inputs.len() == n)
                .then_some(())
                .ok_or_else(|| format!("expected {n} inputs, found {}", inputs.len()))
        };
        let one = || arity(1).map(|()| inputs[0]);
        let two = || arity(2).map(|()| (inputs[0], inputs[1]));
        match self {
            Self::Input(_)
            | Self::Param(_)
            | Self::ParamRows { .. }
            | Self::State(_)
            | Self::Const(_)
            | Self::Literal(_)
            | Self::Iota(_)
            | Self::Random { .. }
            | Self::StepWord(_) => Err("sources have no shape rule".into()),
            Self::Unary(op) => {
                let x = one()?;
                Ok(Meta::new(x.shape, op.infer(x.dtype)?))
            }
            Self::Binary(op) => {
                let (a, b) = two()?;
                same_shape(&[a, b])?;
                Ok(Meta::new(a.shape, op.infer(a.dtype, b.dtype)?))
            }
            Self::Select => {
                arity(3)?;
                same_shape(inputs)?;
                if inputs[0].dtype != DType::Bool {
                    return Err(format!("condition must be bool, found {}", inputs[0].dtype));
                }
                if inputs[1].dtype != inputs[2].dtype {
                    return Err(format!(
                        "branches are {} and {}; cast one of them",
                        inputs[1].dtype, inputs[2].dtype
                    ));
                }
                Ok(inputs[1])
            }
            Self::Cast(dtype) => Ok(Meta::new(one()?.shape, *dtype)),
            Self::CheckIndex { bound } => {
                let x = one()?;
                if !x.dtype.is_int() {
                    return Err(format!("indices must be i32 or u32, found {}", x.dtype));
                }
                if *bound == 0 && x.shape.numel() > 0 {
                    return Err("there are no rows, so every index is out of range".into());
                }
                Ok(x)
            }
            Self::Reshape(op) => op.infer(one()?),
            Self::Expand(op) => op.infer(one()?),
            Self::Permute(op) => op.infer(one()?),
            Self::Slice(op) => op.infer(one()?),
            Self::Flip(op) => op.infer(one()?),
            Self::Pad(op) => op.infer(one()?),
            Self::Concat(op) => op.infer(inputs),
            Self::Slide(op) => op.infer(one()?),
            Self::Reduce(op) => op.infer(one()?),
            Self::ArgReduce(op) => op.infer(one()?),
            Self::Scan(op) => op.infer(inputs),
            Self::ArgSort(op) => op.infer(inputs),
            Self::MatMul(op) => two().and_then(|(a, b)| op.infer(a, b)),
            Self::Conv(op) => two().and_then(|(a, b)| op.infer(a, b)),
            Self::Attention(op) => op.infer(inputs),
            Self::Gather(op) => two().and_then(|(x, i)| op.infer(x, i)),
            Self::ScatterAdd(op) => match *inputs {
                [x, index] | [x, index, _] => op.infer(x, index),
                _ => Err(format!("expected 2 or 3 inputs, found {}", inputs.len())),
            },
            Self::FirstPosition(op) => op.infer(inputs),
            Self::SliceUpdate(op) => op.infer(inputs),
            Self::StopGradient => one(),
            Self::Composite(op) => op.infer(inputs),
        }
    }

    /// The gradients of the inputs: `dx` for each, `None` where zero everywhere.
    pub(crate) fn vjp<'g>(&self, x: &[Var<'g>], y: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        match (self, x) {
            (Self::Unary(op), &[x]) => vec![op.vjp(x, y, dy)],
            (Self::Binary(op), &[a, b]) => op.vjp(a, b, y, dy).to_vec(),
            (Self::Select, &[c, _, _]) => {
                vec![None, Some(c.select(dy, 0.0)), Some(c.select(0.0, dy))]
            }
            (Self::Cast(_), &[x]) => vec![x.dtype().is_float().then_some(dy)],
            (Self::Reshape(_), &[x]) => vec![Some(dy.reshape(x.shape()))],
            (Self::Expand(op), &[x]) => vec![Some(op.vjp(x, dy))],
            (Self::Permute(op), &[_]) => vec![Some(op.vjp(dy))],
            (Self::Slice(op), &[x]) => vec![Some(op.vjp(x, dy))],
            (Self::Flip(op), &[_]) => vec![Some(op.vjp(dy))],
            (Self::Pad(op), &[x]) => vec![Some(op.vjp(x, dy))],
            (Self::Concat(op), x) => op.vjp(x, dy),
            (Self::Slide(op), &[_]) => vec![Some(op.vjp(dy))],
            (Self::Reduce(op), &[x]) => vec![Some(op.vjp(x, y, dy))],
            (Self::MatMul(op), &[a, b]) => op.vjp(a, b, dy).map(Some).to_vec(),
            (Self::Conv(op), &[a, b]) => op.vjp(a, b, dy).map(Some).to_vec(),
            (Self::Attention(op), x) => op.vjp(x, y, dy),
            (Self::Gather(op), &[x, i]) => vec![Some(op.vjp(x, i, dy)), None],
            (Self::Scan(op), x) => op.vjp(x, y, dy),
            (Self::ScatterAdd(op), &[_, i]) => vec![Some(op.vjp(i, dy)), None],
            (Self::SliceUpdate(op), &[_, new, start]) => {
                let [dx, dnew] = op.vjp(new, start, dy);
                vec![Some(dx), Some(dnew), None]
            }
            (Self::Composite(op), x) => op.vjp(x, y, dy),
            // StopGradient, index ops and sources.
            _ => vec![None; x.len()],
        }
    }
}

fn same_shape(inputs: &[Meta]) -> Result<(), String> {
    match inputs.windows(2).find(|w| w[0].shape != w[1].shape) {
        Some(w) => Err(format!("shapes {} and {} differ", w[0].shape, w[1].shape)),
        None => Ok(()),
    }
}
