//! What to compute: shapes, dtypes, host arrays, ops, `Var`, `Scope`, gradients, passes and plans.
//!
//! Knows no device, no wgpu and no files: any plan can be made and printed anywhere.
#![forbid(unsafe_code)]

mod array;
pub mod backend;
pub mod bf16;
mod decoding;
mod dtype;
mod grad;
mod graph;
mod index;
mod init;
mod node;
pub mod ops;
mod optimizer;
mod passes;
pub mod philox;
pub mod plan;
mod program;
mod scope;
mod shape;
pub mod step_row;
mod storage;
mod target;
pub mod timeline;
mod var;

pub use array::{Array, ArrayError, Data};
pub use decoding::Decoding;
pub use dtype::{DType, Scalar};
pub use grad::{grad, vjp};
pub use graph::Graph;
pub use index::{Atom, Index};
pub use init::Init;
pub use node::{BuildError, InputInfo, Node, NodeId, ParamInfo, Part, StateInfo};
pub use optimizer::{
    AVERAGE, At, Group, Layerwise, Optimizer, Rate, Update, Whole, layerwise, update_of, whole,
};
pub use plan::Plan;
pub use program::{Expr, ExprId, Program, Store};
pub use scope::{Layer, Scope};
pub use shape::{IntoShape, MAX_RANK, Shape};
pub use storage::Storage;
pub use target::{DeviceClass, Target};
pub use var::{
    AttentionOptions, Border, ConvOptions, Operand, Padding, PerAxis, PerAxisFactor, PerSide,
    PoolOptions, Select, UpsampleOptions, Var,
};
