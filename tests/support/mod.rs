//! What the tests of several crates share: evaluators, stored cases, the op table and random
//! graphs. Test files include it with `#[path]`.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken test may end in a panic"
)]

pub(crate) mod evaluator;
#[cfg(feature = "gpu")]
pub(crate) mod forced;
pub(crate) mod golden;
pub(crate) mod gpu;
pub(crate) mod interpreter;
pub(crate) mod ops;
pub(crate) mod parity;
pub(crate) mod planned;
pub(crate) mod random_dag;
pub(crate) mod tasks;
