//! The CPU: the oracle that defines every op, and the executor that runs plans fast.

mod exec;
mod gradcheck;
pub mod oracle;

pub use exec::{CpuRuntime, gemm_rows};
pub use gradcheck::{GradcheckError, gradcheck};
