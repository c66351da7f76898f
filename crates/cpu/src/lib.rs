//! The CPU: the oracle that defines every op, and the executor that runs plans fast.

pub mod oracle;
