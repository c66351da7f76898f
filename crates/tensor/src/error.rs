//! What can go wrong on a device.

use std::panic::Location;
use std::time::Duration;

use thiserror::Error;

/// Why a device could not be had, or could not do what it was asked.
///
/// All variants are plain data, so that an error can be kept, compared and sent to another thread.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// No adapter on this machine is what was asked for.
    #[error("no {wanted} among the adapters of this machine: {}", list(.available))]
    NoAdapter {
        /// What was looked for, in words.
        wanted: String,
        /// Every adapter there is.
        available: Vec<String>,
    },
    /// The adapter exists but its driver gave no device.
    #[error("{adapter} gave no device: {message}")]
    NoDevice {
        /// The adapter that was asked.
        adapter: String,
        /// What wgpu said.
        message: String,
    },
    /// The device has a limit below what is needed.
    #[error("`{label}` needs {needed} {limit}, but the device allows {allowed}")]
    LimitExceeded {
        /// The buffer, shader or dispatch that asks for too much.
        label: String,
        /// The limit, in the words of the WebGPU specification.
        limit: &'static str,
        /// What `label` needs.
        needed: u64,
        /// What the device allows.
        allowed: u64,
    },
    /// The driver has no more memory, or the budget set for this device is spent.
    #[error(
        "out of memory: `{label}` needs {bytes} bytes, {allocated} are in use{}",
        of_budget(.budget)
    )]
    OutOfMemory {
        /// The buffer or shader that did not fit.
        label: String,
        /// The bytes it needs.
        bytes: u64,
        /// The bytes that this device's buffers held at that moment.
        allocated: u64,
        /// The budget in bytes, where there is one (see `Device::set_memory_budget`).
        budget: Option<u64>,
    },
    /// A shader is not valid WGSL.
    #[error("shader `{label}`{}: {message}", at_line(.line))]
    Shader {
        /// The label of the shader.
        label: String,
        /// The line of its WGSL, counted from 1, where it is known.
        line: Option<u32>,
        /// What naga said, with the line itself.
        message: String,
    },
    /// wgpu refused a call.
    #[error("`{label}` is not valid: {message}")]
    Validation {
        /// The buffer, shader or dispatch that was refused.
        label: String,
        /// What wgpu said.
        message: String,
    },
    /// The driver failed for a reason of its own.
    #[error("the driver failed in `{label}`: {message}")]
    Internal {
        /// What was being done.
        label: String,
        /// What wgpu said.
        message: String,
    },
    /// The device is gone: unplugged, reset after a hang, or destroyed. Nothing on it can be used.
    #[error("the device is lost: {reason}")]
    DeviceLost {
        /// What the driver said, or who destroyed it.
        reason: String,
    },
    /// The device did not finish in time.
    #[error("`{label}` did not finish within {after:?}")]
    Timeout {
        /// What was waited for.
        label: String,
        /// The time allowed.
        after: Duration,
    },
    /// Bytes outside a buffer.
    #[error("bytes {offset}..{} are outside of `{label}`, which has {size}", .offset.saturating_add(*.bytes))]
    OutOfRange {
        /// The label of the buffer.
        label: String,
        /// The first byte asked for.
        offset: u64,
        /// The number of bytes asked for.
        bytes: u64,
        /// The size of the buffer in bytes.
        size: u64,
    },
    /// Copies and uploads go by words of 4 bytes, bindings by the device's alignment.
    #[error("offset {offset} and length {bytes} in `{label}` must be multiples of {alignment}")]
    Unaligned {
        /// The label of the buffer.
        label: String,
        /// The offset in bytes.
        offset: u64,
        /// The length in bytes.
        bytes: u64,
        /// What both must be a multiple of.
        alignment: u64,
    },
    /// A dispatch was given another number of buffers than its shader binds.
    #[error("`{label}` binds {expected} buffers but was given {given}")]
    BindingCount {
        /// The label of the pipeline.
        label: String,
        /// The bindings of the pipeline.
        expected: usize,
        /// The buffers given.
        given: usize,
    },
    /// An index that came from data (a label, a gather) is outside its axis.
    #[error("index {value} is not in 0..{bound}")]
    BadIndex {
        /// The index.
        value: i64,
        /// One past the largest allowed.
        bound: u32,
    },
    /// An expression of tensors that cannot be computed.
    #[error("cannot compute {op} at {location}: {message}")]
    Expression {
        /// The op.
        op: String,
        /// Where it was called.
        location: &'static Location<'static>,
        /// What clashes and what was expected.
        message: String,
    },
}

fn list(adapters: &[String]) -> String {
    match adapters {
        [] => "there are none".into(),
        _ => adapters.join(", "),
    }
}

fn of_budget(budget: &Option<u64>) -> String {
    budget
        .map(|bytes| format!(" of a budget of {bytes}"))
        .unwrap_or_default()
}

fn at_line(line: &Option<u32>) -> String {
    line.map(|line| format!(", line {line}"))
        .unwrap_or_default()
}
