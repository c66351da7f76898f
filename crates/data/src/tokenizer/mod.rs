//! Texts as tokens: word pieces, byte pairs and other subwords, by the `tokenizers` crate.

mod error;
mod train;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use gradus_graph::Array;
use tokenizers::{
    EncodeInput, Encoding, PaddingParams, PaddingStrategy, PostProcessor, TruncationParams,
};

use crate::{Batch, TOKEN_MASK, TOKENS};

pub use error::TokenizerError;
pub use train::TokenizerTraining;

/// Name of the part of a pair that a token is of in a batch: `i32` `[B, T]`, 0 or 1.
pub const TOKEN_TYPES: &str = "token_type_ids";

/// Names that tokens for padding have in published vocabularies.
const PADDING: [&str; 4] = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>"];

/// Subwords of a text and their numbers, from a `tokenizer.json` or learned
/// ([`TokenizerTraining`]).
///
/// A file's own lengths of truncation and padding are not taken over, its token and side of
/// padding are. Special tokens are added as the file says.
///
/// ```
/// use gradus_data::{TOKENS, TokenizerTraining};
///
/// let texts = ["a rose is a rose", "a rose is red"];
/// let tokenizer = TokenizerTraining::word_piece(100).train(texts.iter())?;
/// let tokenizer = tokenizer.length(8)?;
/// let batch = tokenizer.batch(texts)?;
/// assert_eq!(batch.get(TOKENS).map(|t| t.shape().to_vec()), Some(vec![2, 8]));
/// assert_eq!(tokenizer.decode(&tokenizer.encode("a red rose")?.ids)?, "a red rose");
/// # Ok::<(), gradus_data::TokenizerError>(())
/// ```
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: bool,
}

/// A text to encode, or two that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// One text.
    One(&'a str),
    /// A question and its answer, say.
    Pair(&'a str, &'a str),
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::One(text)
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self::One(text)
    }
}

impl<'a> From<(&'a str, &'a str)> for Text<'a> {
    fn from((first, second): (&'a str, &'a str)) -> Self {
        Self::Pair(first, second)
    }
}

/// The tokens of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Their numbers in the vocabulary.
    pub ids: Vec<i32>,
    /// The part of a pair that each is of: 0 or 1.
    pub types: Vec<i32>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// If the file cannot be read or describes no tokenizer.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| TokenizerError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&bytes).map_err(|source| TokenizerError::File {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Reads the contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// If they describe no tokenizer.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let parsed = guarded(|| tokenizers::Tokenizer::from_bytes(bytes))?;
        Self::new(parsed.map_err(TokenizerError::Format)?)
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TokenizerError> {
        let path = path.as_ref();
        let json = self.to_json()?;
        std::fs::write(path, json).map_err(|source| TokenizerError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// If a part of the tokenizer has no form as JSON.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        guarded(|| self.inner.to_string(true))?.map_err(TokenizerError::Format)
    }

    /// Without lengths; padded by a token that the file names, or that is known for it.
    fn new(mut inner: tokenizers::Tokenizer) -> Result<Self, TokenizerError> {
        guarded(|| {
            let known = inner.get_padding().cloned().or_else(|| {
                let named = PADDING
                    .iter()
                    .find_map(|t| Some((t, inner.token_to_id(t)?)));
                named.map(|(token, id)| PaddingParams {
                    pad_id: id,
                    pad_token: (*token).to_owned(),
                    ..PaddingParams::default()
                })
            });
            inner.with_padding(known.map(|padding| PaddingParams {
                strategy: PaddingStrategy::BatchLongest,
                pad_to_multiple_of: None,
                ..padding
            }));
            inner.with_truncation(None).map(drop)
        })?
        .map_err(TokenizerError::Format)?;
        Ok(Self {
            inner,
            special: true,
        })
    }

    /// Takes so many tokens of a text at most, special ones included; a pair is shortened at the
    /// longer text.
    ///
    /// # Errors
    /// If special tokens alone are as many.
    pub fn max_length(mut self, length: usize) -> Result<Self, TokenizerError> {
        let processor = self.inner.get_post_processor();
        let special = processor.map_or(0, |p| p.added_tokens(true).max(p.added_tokens(false)));
        if length <= special {
            return Err(TokenizerError::Length { length, special });
        }
        let truncation = TruncationParams {
            max_length: length,
            ..TruncationParams::default()
        };
        let set = self.inner.with_truncation(Some(truncation)).map(drop);
        set.map_err(TokenizerError::Encode)?;
        Ok(self)
    }

    /// Gives every text exactly so many tokens: the shapes of a model are fixed when it is
    /// compiled.
    ///
    /// # Errors
    /// As [`Tokenizer::max_length`]; also if no token is known for padding.
    pub fn length(self, length: usize) -> Result<Self, TokenizerError> {
        let mut tokenizer = self.max_length(length)?;
        match tokenizer.inner.get_padding_mut() {
            Some(padding) => padding.strategy = PaddingStrategy::Fixed(length),
            None => return Err(TokenizerError::NoPadding),
        }
        Ok(tokenizer)
    }

    /// Fills short texts with this token.
    ///
    /// # Errors
    /// If the vocabulary lacks it.
    pub fn padding(mut self, token: &str) -> Result<Self, TokenizerError> {
        let Some(id) = self.id(token) else {
            return Err(TokenizerError::UnknownToken {
                token: token.to_owned(),
                tokens: self.vocabulary(),
            });
        };
        let before = self.inner.get_padding().cloned().unwrap_or_default();
        self.inner.with_padding(Some(PaddingParams {
            pad_id: id.cast_unsigned(),
            pad_token: token.to_owned(),
            ..before
        }));
        Ok(self)
    }

    /// Adds no special tokens to texts.
    #[must_use]
    pub const fn no_special_tokens(mut self) -> Self {
        self.special = false;
        self
    }

    /// Number of tokens, added ones included.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The number of a token; `None` if there is no such token.
    pub fn id(&self, token: &str) -> Option<i32> {
        i32::try_from(self.inner.token_to_id(token)?).ok()
    }

    /// The token of this number; `None` if there is no such token.
    pub fn token(&self, id: i32) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// The tokens of one text or pair, not padded.
    ///
    /// # Errors
    /// If the vocabulary has no token for a part of it.
    pub fn encode<'a>(&self, text: impl Into<Text<'a>>) -> Result<Tokens, TokenizerError> {
        let encoding = self.encoding(vec![input(text.into())])?.pop();
        let mut tokens = Tokens {
            ids: Vec::new(),
            types: Vec::new(),
        };
        if let Some(encoding) = encoding {
            let present = encoding.get_attention_mask().iter().map(|&m| m != 0);
            for (i, _) in present.enumerate().filter(|&(_, present)| present) {
                let at = |ids: &[u32]| ids.get(i).copied().unwrap_or_default();
                tokens.ids.push(number(at(encoding.get_ids()))?);
                tokens.types.push(number(at(encoding.get_type_ids()))?);
            }
        }
        Ok(tokens)
    }

    /// Texts or pairs as arrays of one length: [`TOKENS`], [`TOKEN_MASK`] and [`TOKEN_TYPES`],
    /// each `[B, T]`. `T` is that of [`Tokenizer::length`], else that of the longest text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; also if lengths differ and no token is known for padding.
    pub fn batch<'a, T: Into<Text<'a>>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Batch, TokenizerError> {
        let texts = texts.into_iter().map(|text| input(text.into()));
        let encodings = self.encoding(texts.collect())?;
        let length = encodings.first().map_or(0, Encoding::len);
        if encodings.iter().any(|e| e.len() != length) {
            return Err(TokenizerError::NoPadding);
        }
        let shape = [encodings.len(), length];
        let numbers = |of: fn(&Encoding) -> &[u32]| {
            let all = encodings.iter().flat_map(of).map(|&id| number(id));
            all.collect::<Result<Vec<i32>, _>>()
        };
        let mask = encodings.iter().flat_map(|e| e.get_attention_mask());
        let mask: Vec<bool> = mask.map(|&m| m != 0).collect();
        Ok(Batch::new()
            .with(TOKENS, Array::new(shape, numbers(Encoding::get_ids)?)?)
            .with(TOKEN_MASK, Array::new(shape, mask)?)
            .with(
                TOKEN_TYPES,
                Array::new(shape, numbers(Encoding::get_type_ids)?)?,
            ))
    }

    /// The text of tokens, without special ones. What the vocabulary lacks is left out.
    ///
    /// # Errors
    /// If an id is negative.
    pub fn decode(&self, ids: &[i32]) -> Result<String, TokenizerError> {
        let unsigned =
            |&id: &i32| u32::try_from(id).map_err(|_| TokenizerError::Id { id: id.into() });
        let ids: Vec<u32> = ids.iter().map(unsigned).collect::<Result<_, _>>()?;
        guarded(|| self.inner.decode(&ids, true))?.map_err(TokenizerError::Decode)
    }

    fn encoding(&self, texts: Vec<EncodeInput<'_>>) -> Result<Vec<Encoding>, TokenizerError> {
        let encoded = guarded(|| self.inner.encode_batch(texts, self.special))?;
        encoded.map_err(TokenizerError::Encode)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocabulary", &self.vocabulary())
            .finish_non_exhaustive()
    }
}

fn input(text: Text<'_>) -> EncodeInput<'_> {
    match text {
        Text::One(text) => text.into(),
        Text::Pair(first, second) => (first, second).into(),
    }
}

fn number(id: u32) -> Result<i32, TokenizerError> {
    i32::try_from(id).map_err(|_| TokenizerError::Id { id: id.into() })
}

/// Runs code of the `tokenizers` crate, which panics on some files whose parts do not fit
/// together.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, TokenizerError> {
    // Whoever gets the error drops what may be broken, or has shared it unchanged.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
        TokenizerError::Inconsistent {
            message: said.unwrap_or_default(),
        }
    })
}
