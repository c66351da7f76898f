//! The CPU: the oracle that defines every op, and the executor that runs plans fast.

mod gradcheck;
pub mod oracle;

pub use gradcheck::{GradcheckError, gradcheck};
