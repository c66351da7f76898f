//! Data sets, files, splits, batches, texts as tokens, and the embedded data.
//!
//! ```
//! use gradus_data::datasets;
//!
//! let data = datasets::digits().split(0.2, 7)?;
//! for indices in data.train.order(7, 0).batches(32)? {
//!     let batch = data.train.gather(indices)?;
//!     assert!(batch.len() <= 32);
//! }
//! # Ok::<(), gradus_data::DataError>(())
//! ```
#![forbid(unsafe_code)]

mod batch;
mod dataset;
pub mod datasets;
mod error;
mod field;
pub mod idx;
mod order;
pub mod text;
#[cfg(feature = "tokenizers")]
mod tokenizer;

pub use batch::Batch;
pub use dataset::{Dataset, IGNORED, INPUT, Split, TARGET};
pub use error::DataError;
pub use order::{Batches, Order};
pub use text::{TOKEN_MASK, TOKENS};
#[cfg(feature = "tokenizers")]
pub use tokenizer::{TOKEN_TYPES, Text, Tokenizer, TokenizerError, TokenizerTraining, Tokens};
