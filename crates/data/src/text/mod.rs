//! Texts as tokens: vocabularies, windows for language models, padding and packing.
//!
//! ```
//! use gradus_data::text::{Vocabulary, windows};
//! use gradus_data::datasets;
//!
//! let tokens = Vocabulary::bytes().encode(datasets::moby_dick())?;
//! // Split first: no window then sees both sides.
//! let (train, test) = tokens.split_at(tokens.len() / 10 * 9);
//! let train = windows(train, 64, 64)?;
//! assert_eq!(train.features().to_vec(), [64]);
//! assert_eq!(windows(test, 64, 64)?.target().shape()[1], 64);
//! # Ok::<(), gradus_data::DataError>(())
//! ```

mod pack;
mod pad;
mod vocabulary;
mod windows;

pub use pack::PackSequences;
pub use pad::PadSequences;
pub use vocabulary::Vocabulary;
pub use windows::{random_windows, windows};

/// Name of the tokens in a batch: `i32` `[B, T]`, as Hugging Face has it.
pub const TOKENS: &str = "input_ids";
/// Name of what is a token and no padding in a batch: `bool` `[B, T]`.
pub const TOKEN_MASK: &str = "attention_mask";
/// Name of the place of each token in its document in a batch: `i32` `[B, T]`, from 0.
pub const POSITIONS: &str = "position_ids";
/// Name of the document that each token is of in a batch: `i32` `[B, T]`, from 1 in each row, 0 for
/// padding.
pub const DOCUMENTS: &str = "document_ids";
