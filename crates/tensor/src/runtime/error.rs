//! What the device layer says, in the words of a back end.

use gradus_graph::backend::BackendError;
use gradus_graph::plan::Plan;

use crate::TensorError;

impl From<TensorError> for BackendError {
    fn from(error: TensorError) -> Self {
        match error {
            TensorError::DeviceLost { reason } => Self::DeviceLost(reason),
            TensorError::OutOfMemory {
                label,
                bytes,
                allocated,
                budget,
            } => Self::OutOfMemory {
                what: label,
                bytes,
                advice: advice(allocated, budget),
            },
            TensorError::Timeout { label, after } => Self::Timeout {
                what: label,
                seconds: after.as_secs(),
            },
            TensorError::OutOfRange { .. } | TensorError::Unaligned { .. } => {
                Self::Access(error.to_string())
            }
            other => Self::Other(Box::new(other)),
        }
    }
}

fn advice(allocated: u64, budget: Option<u64>) -> String {
    let smaller = "use a smaller batch or model, or drop other models on this device";
    match budget {
        Some(budget) => format!(
            "{allocated} bytes of a budget of {budget} are in use: {smaller}, or raise the budget \
             (`Device::set_memory_budget`)"
        ),
        None => format!("{allocated} bytes are in use: {smaller}"),
    }
}

/// What the kernel in this line of the plan failed at.
pub(super) fn of_kernel(plan: &Plan, line: usize, error: TensorError) -> BackendError {
    let label = plan.kernels.get(line).map(|kernel| kernel.label.clone());
    let failed = |message: String| BackendError::Kernel {
        label: label.unwrap_or_default(),
        line,
        message,
    };
    match error {
        // These are about the device, whichever kernel met them.
        TensorError::DeviceLost { .. }
        | TensorError::OutOfMemory { .. }
        | TensorError::Timeout { .. } => error.into(),
        TensorError::Shader {
            line: Some(at),
            message,
            ..
        } => failed(format!("line {at} of its shader: {message}")),
        TensorError::Shader { message, .. }
        | TensorError::Validation { message, .. }
        | TensorError::Internal { message, .. } => failed(message),
        other => failed(other.to_string()),
    }
}
