//! What to compute: shapes, dtypes, host arrays, ops, `Var`, `Scope`, gradients, passes and plans.
//!
//! Knows no device, no wgpu and no files: any plan can be made and printed anywhere.

mod array;
mod dtype;
pub mod philox;
mod shape;

pub use array::{Array, ArrayError, Data};
pub use dtype::{DType, Scalar};
pub use shape::{IntoShape, MAX_RANK, Shape};
