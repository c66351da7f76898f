//! Plans: one step as plain data that a person can print and a program can recompute.

mod alone;
mod attention;
mod bill;
mod bind;
mod build;
mod builder;
mod check;
pub(crate) mod cluster;
mod conv;
mod display;
mod domain;
mod groups;
mod home;
mod kernel;
mod kernels;
mod layerwise;
mod lower;
mod memory;
mod merge;
mod operand;
mod readback;
mod recompute;
mod schedule;
mod slab;
mod sparse;
mod store;
mod update;
mod view;

pub use attention::{AttentionKernel, AttentionPass, HeadRows, Mask};
pub use build::{PlanError, Request, lower};
pub use check::CheckError;

pub use kernel::{
    Binding, ConvKernel, Factor, Fragment, Kernel, KernelKind, MatMulKernel, Matrix, Operand,
    ScanKernel, ScatterKernel, SortKernel, TakeKernel, UpdateKernel,
};
pub use slab::{Run, Segment, SlabError, SlabLayout};
pub use sparse::SparseGradient;

use std::sync::Arc;

use crate::ops::Meta;
use crate::{Array, InputInfo, Target, bf16};

/// The index of a [`Value`] in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// The index of a [`Buffer`] in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

impl ValueId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl BufferId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One step, ready to be compiled for a device.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is for: `train`, `evaluate`, `predict`…
    pub name: String,
    /// The device it was made for.
    pub target: Target,
    /// The kernels, in the order in which they run.
    pub kernels: Vec<Kernel>,
    /// Every tensor that lies in memory.
    pub values: Vec<Value>,
    /// Every buffer.
    pub buffers: Vec<Buffer>,
    /// What is fed at every step, in the order of the upload buffer.
    pub inputs: Vec<Input>,
    /// Named results that can be read after a step.
    pub outputs: Vec<(String, ValueId)>,
    /// Scalars that every step reports through the ring.
    pub readbacks: Vec<Readback>,
    /// `f32` elements of one ring row.
    pub ring_row: usize,
    /// The index checks: site `i` has error word `i`.
    pub sites: Vec<IndexSite>,
    /// Constants in [`Role::Literals`], written once.
    pub literals: Vec<(ValueId, Arc<Array>)>,
    /// Where parameters, their gradients and optimizer states lie.
    pub slabs: SlabLayout,
    /// The gradients of trained parameters that lie in no slab.
    pub sparse: Vec<SparseGradient>,
    /// Samples of the resident data set, if the step takes its batch from one.
    pub resident: Option<usize>,
    /// What the step costs.
    pub bill: Bill,
    /// Of its floating-point operations, those that a plan without memory limit and checkpoints
    /// would not have; `None` if that is this one.
    pub recomputed: Option<u64>,
}

/// A tensor in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// For people: the layer and op that made it.
    pub name: String,
    /// Shape and dtype.
    pub meta: Meta,
    /// The buffer it lies in.
    pub buffer: BufferId,
    /// Bytes from the start of that buffer. In the ring, from the start of a row.
    pub offset: u64,
    /// Whether its elements, which are all of bfloat16 though their dtype is `f32`, lie two in a
    /// word.
    pub packed: bool,
}

impl Bill {
    /// Bytes in device memory, of all kinds.
    pub const fn memory(&self) -> u64 {
        self.slabs + self.transient + self.other
    }
}

impl Plan {
    /// Are there gradients?
    pub fn trains(&self) -> bool {
        let mut roles = self.buffers.iter().map(|b| &b.role);
        !self.sparse.is_empty() || roles.any(|role| matches!(role, Role::Grads(_)))
    }
}

impl Value {
    /// Bytes in device memory, without padding.
    pub fn bytes(&self) -> u64 {
        if self.packed {
            bf16::words(self.meta.shape.numel()) as u64 * 4
        } else {
            self.meta.bytes() as u64
        }
    }
}

/// A buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds.
    pub role: Role,
    /// Its size, a multiple of 16.
    pub bytes: u64,
}

/// What a buffer holds and how long it lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The inputs of a step, written by the host at every step.
    Upload,
    /// One array of a resident data set: the input's index.
    Resident(usize),
    /// The order in which a resident data set is taken, `u32`.
    Order,
    /// A shard of the parameters.
    Params(usize),
    /// A shard of the gradients.
    Grads(usize),
    /// A shard of the optimizer's state of this number.
    OptimizerState(usize, usize),
    /// All states of the model.
    States,
    /// What steps that decode hand on: the number among a plan's caches. Undefined before the
    /// first of them.
    Cache(usize),
    /// Constants, written once.
    Literals,
    /// Intermediate results, shared over time.
    Slot(usize),
    /// Results that can be read after a step.
    Outputs,
    /// Read-backs: a ring of rows. The plan gives the size of one row; a runtime holds as many
    /// as it likes, binds all of them, and tells kernels through the step row where theirs is.
    Ring,
    /// One word for each index check.
    Errors,
}

/// A value fed at every step.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Name, shape and dtype.
    pub info: InputInfo,
    /// Where the kernels read it.
    pub value: ValueId,
    /// The resident array it is taken from, `[samples, …]`, if the data set lies on the device.
    pub resident: Option<ValueId>,
}

/// A scalar that every step reports: `scale · Σ` of a vector in the ring, summed by the host in
/// order in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Readback {
    /// Its name: `loss` or a metric's.
    pub name: String,
    /// The vector, in the ring.
    pub value: ValueId,
    /// The factor.
    pub scale: f64,
}

/// An index check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSite {
    /// The layer.
    pub layer: String,
    /// One past the largest allowed index.
    pub bound: u32,
    /// The input that the indices come from, if they are its elements as they are.
    pub input: Option<ValueId>,
}

/// What a step costs, counted and compared with lower bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bill {
    /// Kernels launched.
    pub dispatches: usize,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes that kernels read and write.
    pub bytes: u64,
    /// Every matmul and reduction reads its external inputs once and writes its outputs once,
    /// adjacent pointwise work is free, and the optimizer moves each of its vectors once.
    pub bytes_bound: u64,
    /// Bytes of all transient slots.
    pub transient: u64,
    /// The most transient bytes alive at once in this order, after in-place merging.
    pub transient_bound: u64,
    /// Transient bytes if no two values shared memory.
    pub transient_unshared: u64,
    /// Bytes of parameters, gradients, optimizer and model states.
    pub slabs: u64,
    /// Bytes of everything else: inputs, outputs, ring, literals.
    pub other: u64,
}
