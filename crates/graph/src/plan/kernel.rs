//! One dispatch: how it is computed, over which memory, and what it means.

use crate::ops::{Conv, Scanning};
use crate::plan::{AttentionKernel, BufferId, ValueId};
use crate::{Expr, ExprId, Node, NodeId, Program};

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// For people and for the GPU's tools: layer and ops.
    pub label: String,
    /// How it is computed.
    pub kind: KernelKind,
    /// The tensors it works on. Programs name operands by their position here.
    pub operands: Vec<Operand>,
    /// The ranges of buffers it binds. A buffer that is written is bound once.
    pub bindings: Vec<Binding>,
    /// The binding of the error words, if the kernel checks indices.
    pub errors: Option<usize>,
    /// The graph nodes it computes.
    pub meaning: Fragment,
    /// Floating-point operations.
    pub flops: u64,
    /// Whether it computes again what the forward pass did.
    pub again: bool,
}

/// A tensor that a kernel works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The tensor. An operand that is updated in place reads one value and writes another, both
    /// at the same place.
    pub reads: Option<ValueId>,
    /// The tensor written, if any.
    pub writes: Option<ValueId>,
    /// The binding it lies in.
    pub binding: usize,
    /// Elements from the start of the binding to the tensor.
    pub base: usize,
}

/// A range of a buffer that a kernel binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The buffer.
    pub buffer: BufferId,
    /// First byte: a multiple of the target's offset alignment.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
    /// True if the kernel writes to it.
    pub writes: bool,
}

/// The subgraph a kernel computes: what `verify` lets the oracle evaluate.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    /// The nodes, in topological order, with ids into this list. Leaves are [`crate::ops::Op::Input`]
    /// nodes whose number is a position in `inputs`.
    pub nodes: Vec<Node>,
    /// The values that the leaves stand for.
    pub inputs: Vec<ValueId>,
    /// The values computed and the nodes that are their meaning, of any shape with as many
    /// elements.
    pub outputs: Vec<(ValueId, NodeId)>,
}

/// How a kernel is computed.
#[derive(Clone, Debug)]
pub enum KernelKind {
    /// A fused region: pointwise code and reductions.
    Program(Program),
    /// A matrix product with an epilogue.
    MatMul(MatMulKernel),
    /// A convolution or one of its gradients with an epilogue.
    Conv(ConvKernel),
    /// Attention, or its gradient.
    Attention(AttentionKernel),
    /// An ordered sum of rows into a table, or where each row is named first.
    Scatter(ScatterKernel),
    /// Running results along an axis.
    Scan(ScanKernel),
    /// The order of elements.
    Sort(SortKernel),
    /// Rows written over.
    Update(UpdateKernel),
    /// Takes the batch from a resident data set.
    Take(TakeKernel),
}

/// `acc[b, m, n] = Σₖ a[b, m, k] · b[b, k, n]`, then the epilogue for every element.
#[derive(Clone, Debug, PartialEq)]
pub struct MatMulKernel {
    /// Products, one for each position on the batch axes.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms summed.
    pub k: usize,
    /// The left operand: `[M, K]`, or `[K, M]` if transposed.
    pub a: Matrix,
    /// The right operand: `[K, N]`, or `[N, K]` if transposed.
    pub b: Matrix,
    /// An operand `[M]` that receives `Σₖ a[m, k]`: a bias gradient. Only with batch 1.
    pub row_sum: Option<usize>,
    /// What happens to each element: a program without reductions over the axes
    /// `[batch, M, N]`, with [`crate::Expr::Accumulator`] as its source.
    pub epilogue: Program,
}

/// `acc = ` one direction of a [`Conv`], then the epilogue for every element.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvKernel {
    /// What is computed.
    pub conv: Conv,
    /// Images in a batch: `N`.
    pub images: usize,
    /// The operands, in the order of the direction.
    pub a: Factor,
    /// See `a`. A weight is always [`Factor::Dense`].
    pub b: Factor,
    /// An operand `[G·O]` that receives the sums of `y` over images and positions: a bias
    /// gradient. Only toward the weight.
    pub row_sum: Option<usize>,
    /// What happens to each element: a program without reductions over the axes
    /// [`Conv::result`], with [`crate::Expr::Accumulator`] as its source.
    pub epilogue: Program,
}

/// An operand of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub enum Factor {
    /// The operand of this number, without gaps.
    Dense(usize),
    /// Each element is computed where it is read: the value of an expression of a program without
    /// reductions and stores, over one axis, the elements in memory order.
    Computed(Program, ExprId),
}

impl Factor {
    /// The numbers of the operands that it is made from.
    pub fn operands(&self) -> Vec<usize> {
        match self {
            Self::Dense(operand) => vec![*operand],
            Self::Computed(program, _) => program.exprs.iter().filter_map(Expr::operand).collect(),
        }
    }
}

/// A matrix of a product, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The operand.
    pub operand: usize,
    /// Stored with rows and columns swapped.
    pub transposed: bool,
    /// Elements from the operand's start to the first element.
    pub offset: usize,
    /// Elements from one stored row to the next; within a row elements are adjacent.
    pub row_stride: usize,
    /// Elements from one batch to the next; 0 if all share one matrix.
    pub batch_stride: usize,
}

/// `out[v, c] = Σ x[i, c]` over the positions `i` with `index[i] = v`, in ascending order; or,
/// without `x`, `out[v] = min { i : index[order[i]] = v }`, `count` if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScatterKernel {
    /// Operand `[count, width]`, if rows are summed.
    pub x: Option<usize>,
    /// Operand `[count]`, integers.
    pub index: usize,
    /// Operand `[count]`, `i32`, if known: the positions in ascending order of their indices, equal
    /// ones in ascending order.
    pub order: Option<usize>,
    /// Operand `[rows, width]`, or `[rows]`, `i32`.
    pub out: usize,
    /// Positions.
    pub count: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// `out[o, i, c]` from `out` at the position before `i` and `x[o, i, c]`, as [`Scanning`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanKernel {
    /// How.
    pub op: Scanning,
    /// From the end.
    pub reverse: bool,
    /// Operand of the factors, of a linear scan.
    pub a: Option<usize>,
    /// Operand `[outer, length, inner]`.
    pub x: usize,
    /// Operand `[outer, length, inner]`.
    pub out: usize,
    /// Blocks.
    pub outer: usize,
    /// Positions of a line.
    pub length: usize,
    /// Lines of a block.
    pub inner: usize,
}

/// `out[r, …]`: the positions of each run of a row in the order of their elements `x[r, …]`, equal
/// ones in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKernel {
    /// Operand `[rows, length]`.
    pub x: usize,
    /// Operand `[rows, length]`, `i32`, if known: the result for runs half as long.
    pub order: Option<usize>,
    /// Operand `[rows, length]`, `i32`.
    pub out: usize,
    /// Rows.
    pub rows: usize,
    /// Positions of a row.
    pub length: usize,
    /// Positions of a run.
    pub run: usize,
    /// The largest first.
    pub descending: bool,
}

/// `out[b, start[b] + t, c] = new[b, t, c]` where that is inside, `x` elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateKernel {
    /// Operand `[batch, rows, width]`.
    pub x: usize,
    /// Operand `[batch, count, width]`.
    pub new: usize,
    /// Operand `[batch]`, `i32`.
    pub start: usize,
    /// Operand `[batch, rows, width]`; if it is `x`, only new rows are written.
    pub out: usize,
    /// Samples.
    pub batch: usize,
    /// Rows of a sample.
    pub rows: usize,
    /// New rows of a sample.
    pub count: usize,
    /// Elements of a row.
    pub width: usize,
}

impl UpdateKernel {
    /// Does the result take the place of `x`?
    pub const fn in_place(&self) -> bool {
        self.x == self.out
    }
}

/// `out[j][i, …] = resident[j][order[batch + i], …]` for every input `j`; `batch` comes from the
/// step row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeKernel {
    /// Operand of the order.
    pub order: usize,
    /// Samples taken.
    pub count: usize,
    /// Samples there are: positions in `order` and rows of each array.
    pub samples: usize,
    /// For each input: operand of the resident array, operand of the batch, words of a sample.
    pub arrays: Vec<(usize, usize, usize)>,
}

impl KernelKind {
    /// All programs in it.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        let factors = match self {
            Self::Conv(conv) => vec![&conv.a, &conv.b],
            _ => Vec::new(),
        };
        let computed = factors.into_iter().filter_map(|factor| match factor {
            Factor::Computed(program, _) => Some(program),
            Factor::Dense(_) => None,
        });
        computed.chain(self.program())
    }

    /// The program, or the epilogue.
    pub const fn program(&self) -> Option<&Program> {
        match self {
            Self::Program(program) => Some(program),
            Self::MatMul(MatMulKernel { epilogue, .. })
            | Self::Conv(ConvKernel { epilogue, .. }) => Some(epilogue),
            Self::Attention(_)
            | Self::Scatter(_)
            | Self::Scan(_)
            | Self::Sort(_)
            | Self::Update(_)
            | Self::Take(_) => None,
        }
    }

    /// The program, or the epilogue.
    pub const fn program_mut(&mut self) -> Option<&mut Program> {
        match self {
            Self::Program(program) => Some(program),
            Self::MatMul(MatMulKernel { epilogue, .. })
            | Self::Conv(ConvKernel { epilogue, .. }) => Some(epilogue),
            Self::Attention(_)
            | Self::Scatter(_)
            | Self::Scan(_)
            | Self::Sort(_)
            | Self::Update(_)
            | Self::Take(_) => None,
        }
    }
}

impl Kernel {
    /// The values read, in operand order.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.operands.iter().filter_map(|o| o.reads)
    }

    /// The values written, in operand order.
    pub fn writes(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.operands.iter().filter_map(|o| o.writes)
    }
}
