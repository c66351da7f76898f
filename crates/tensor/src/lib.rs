//! The GPU: device, buffers, kernels, and running a plan through wgpu.

pub mod kernels;
