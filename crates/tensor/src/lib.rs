//! The GPU: device, buffers, kernels, and running a plan through wgpu.
//!
//! This is the only crate that names wgpu. Everything that can fail out in the world (no adapter,
//! memory, a lost device, a shader that a driver refuses) comes back as a [`TensorError`]; wgpu's
//! own habit of panicking on such things ends here.

mod adapters;
mod bind;
mod buffer;
mod cache;
mod commands;
mod counters;
mod device;
mod error;
mod guard;
mod health;
pub mod kernels;
mod launch;
mod memory;
mod pipeline;
mod read;
mod reflect;
mod runtime;
mod tensor;
mod timestamps;
mod tuning;

pub use adapters::{DeviceInfo, DeviceKind};
pub use bind::{BindGroup, BufferRange, Dispatch};
pub use buffer::Buffer;
pub use cache::{compile, compile_all};
pub use commands::{Commands, Pass, Submission};
pub use counters::Counters;
pub use device::Device;
pub use error::TensorError;
pub use pipeline::{Pipeline, STEP_ROW_BYTES, Source};
pub use read::Staging;
pub use runtime::{GpuRuntime, MemoryUse, Progress};
pub use tensor::Tensor;
pub use tuning::{Choices, Tuning};
pub use wgpu;
