//! What is wrong with a checkpoint.

use gradus_graph::DType;
use safetensors::SafeTensorError;
use thiserror::Error;

/// What is wrong with a checkpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is damaged, or no safetensors file at all.
    #[error("not a complete safetensors file ({bytes} bytes)")]
    Format {
        /// Its length.
        bytes: usize,
        /// What the parser says.
        source: SafeTensorError,
    },
    /// The entry that says where training stood is not valid.
    #[error("metadata entry `gradus` is not valid")]
    Metadata(#[source] serde_json::Error),
    /// The file was written by a newer version.
    #[error("format {found} is newer than {known}, the newest this program knows")]
    Version {
        /// The file's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The model has a tensor that the file lacks.
    #[error("no tensor `{name}` {expected:?}; the file has {}", .found.join(", "))]
    Missing {
        /// The tensor.
        name: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// The names in the file.
        found: Vec<String>,
    },
    /// The file has a tensor that the model lacks.
    #[error("tensor `{name}` {found:?} is not of this model")]
    Unknown {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor differs in shape or dtype.
    #[error(
        "tensor `{name}`: expected {expected_dtype} {expected:?}, found {found_dtype} {found:?}"
    )]
    Mismatch {
        /// The tensor.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The model's dtype.
        expected_dtype: DType,
        /// The file's shape.
        found: Vec<usize>,
        /// The file's dtype.
        found_dtype: String,
    },
}
