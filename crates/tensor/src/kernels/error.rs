//! What keeps a kernel from becoming a shader.

use thiserror::Error;

use super::Variant;

/// A kernel that cannot be written as WGSL. Each of these is a fault of the plan.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShaderError {
    /// An operand without a value.
    #[error("operand {0} names no value of the plan")]
    NoValue(usize),
    /// An operand outside all bindings.
    #[error("operand {0} names no binding of its kernel")]
    NoBinding(usize),
    /// An index check, but no error words to write to.
    #[error("index check {0} needs the error words among the bindings")]
    NoErrorWords(usize),
    /// An expression that is used before it can be known.
    #[error("expression {0} is not known where it is used")]
    Unknown(usize),
    /// A size that 32 bits do not hold.
    #[error("{0} elements are more than 32-bit positions can tell apart")]
    TooLarge(usize),
    /// A weight that does not lie in memory.
    #[error("the weight of a convolution must lie in memory")]
    Weight,
    /// A variant of another kind of kernel.
    #[error("this kernel cannot be computed as {0}")]
    Variant(Variant),
}
