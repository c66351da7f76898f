//! What can be wrong with a tokenizer or its texts.

use std::path::PathBuf;

use gradus_graph::ArrayError;
use thiserror::Error;

/// What the `tokenizers` crate says.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a tokenizer could not be read, learned or applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read or written.
    #[error("cannot access {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is no tokenizer.
    #[error("{} is no `tokenizer.json`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<Self>,
    },
    /// The text describes no tokenizer.
    #[error("not the JSON of a tokenizer, or of one that this version does not know")]
    Format(#[source] Cause),
    /// A text cannot be encoded: the vocabulary has no token for a part of it, for example.
    #[error("cannot encode texts")]
    Encode(#[source] Cause),
    /// Tokens cannot be decoded.
    #[error("cannot decode tokens")]
    Decode(#[source] Cause),
    /// Tokens cannot be learned from these texts.
    #[error("cannot learn tokens")]
    Train(#[source] Cause),
    /// The `tokenizers` crate panicked, on a file with parts that do not fit together.
    #[error("the tokenizer is not consistent: {message}")]
    Inconsistent {
        /// What the panic said.
        message: String,
    },
    /// A number of tokens that leaves no room for text.
    #[error("{length} tokens leave no room beside {special} special ones")]
    Length {
        /// The length asked for.
        length: usize,
        /// Special tokens around a text, or a pair if those are more.
        special: usize,
    },
    /// Texts of different lengths, and nothing to fill the shorter ones with.
    #[error("no token for padding in this vocabulary; name one with `padding`")]
    NoPadding,
    /// A token that the vocabulary lacks.
    #[error("no token `{token}` among {tokens}")]
    UnknownToken {
        /// The token asked for.
        token: String,
        /// Tokens that there are.
        tokens: usize,
    },
    /// The id of a token that is negative, or beyond what `i32` holds.
    #[error("{id} is not the id of a token")]
    Id {
        /// The id.
        id: i64,
    },
    /// A vocabulary that is smaller than what it must hold.
    #[error("a vocabulary of {vocabulary} has no room for {needed} tokens that it needs anyway")]
    Vocabulary {
        /// The size asked for.
        vocabulary: usize,
        /// Single bytes and special tokens.
        needed: usize,
    },
    /// Nothing to learn from.
    #[error("no text to learn tokens from")]
    NoText,
    /// An array could not be made.
    #[error(transparent)]
    Array(#[from] ArrayError),
}
