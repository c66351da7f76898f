//! Sequences of different lengths as one array.

use gradus_graph::Array;

use super::{TOKEN_MASK, TOKENS};
use crate::{Batch, DataError};

/// Fills sequences up to one length.
///
/// ```
/// use gradus_data::text::{PadSequences, TOKEN_MASK, TOKENS};
///
/// let batch = PadSequences::with(0).multiple_of(4).batch(&[vec![5, 6], vec![7, 8, 9]])?;
/// let tokens = batch.get(TOKENS).ok_or("no tokens")?;
/// assert_eq!(tokens.as_i32()?, [5, 6, 0, 0, 7, 8, 9, 0]);
/// let mask = batch.get(TOKEN_MASK).ok_or("no mask")?;
/// assert_eq!(mask.shape().to_vec(), [2, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Sequences become as long as the longest one unless told otherwise, filled at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PadSequences {
    token: i32,
    length: Option<usize>,
    multiple: usize,
    left: bool,
    truncate: bool,
}

impl PadSequences {
    /// Filled with this token.
    pub const fn with(token: i32) -> Self {
        Self {
            token,
            length: None,
            multiple: 1,
            left: false,
            truncate: false,
        }
    }

    /// All sequences become so long: the shapes of a model are fixed when it is compiled.
    #[must_use]
    pub const fn length(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// The length becomes a multiple of this, so that few plans serve batches of all lengths.
    #[must_use]
    pub const fn multiple_of(mut self, multiple: usize) -> Self {
        self.multiple = multiple;
        self
    }

    /// Fills at the front, as generation needs: all sequences then end at one place.
    #[must_use]
    pub const fn left(mut self) -> Self {
        self.left = true;
        self
    }

    /// Cuts the end off sequences that are longer than [`PadSequences::length`] allows; they are an
    /// error without it.
    #[must_use]
    pub const fn truncate(mut self) -> Self {
        self.truncate = true;
        self
    }

    /// Tokens and which of them are none: [`TOKENS`] `i32` and [`TOKEN_MASK`] `bool`, `[B, T]` both.
    ///
    /// # Errors
    /// If a sequence is longer than allowed, or the length should be a multiple of 0.
    pub fn batch<S: AsRef<[i32]>>(&self, sequences: &[S]) -> Result<Batch, DataError> {
        let (tokens, mask) = self.arrays(sequences)?;
        Ok(Batch::new().with(TOKENS, tokens).with(TOKEN_MASK, mask))
    }

    /// The tokens alone, `[B, T]`: for targets, say.
    ///
    /// # Errors
    /// As [`PadSequences::batch`].
    pub fn array<S: AsRef<[i32]>>(&self, sequences: &[S]) -> Result<Array, DataError> {
        Ok(self.arrays(sequences)?.0)
    }

    fn arrays<S: AsRef<[i32]>>(&self, sequences: &[S]) -> Result<(Array, Array), DataError> {
        let lengths = sequences.iter().map(|s| s.as_ref().len());
        let longest = lengths.max().unwrap_or_default();
        let length = self.length.unwrap_or(longest);
        let length = length.checked_next_multiple_of(self.multiple);
        let length = length.ok_or(DataError::Multiple {
            multiple: self.multiple,
        })?;
        let (mut tokens, mut mask) = (Vec::new(), Vec::new());
        for (sample, sequence) in sequences.iter().enumerate() {
            let all = sequence.as_ref();
            if all.len() > length && !self.truncate {
                return Err(DataError::SequenceLength {
                    sample,
                    found: all.len(),
                    length,
                });
            }
            let kept = all.get(..length).unwrap_or(all);
            let missing = length - kept.len();
            let (front, back) = if self.left {
                (missing, 0)
            } else {
                (0, missing)
            };
            for (count, is_token) in [(front, false), (kept.len(), true), (back, false)] {
                mask.extend(std::iter::repeat_n(is_token, count));
            }
            tokens.extend(std::iter::repeat_n(self.token, front));
            tokens.extend_from_slice(kept);
            tokens.extend(std::iter::repeat_n(self.token, back));
        }
        let shape = [sequences.len(), length];
        let named = |name: &str, array: Result<Array, _>| {
            array.map_err(|source| DataError::Array {
                name: name.to_owned(),
                source,
            })
        };
        Ok((
            named(TOKENS, Array::new(shape, tokens))?,
            named(TOKEN_MASK, Array::new(shape, mask))?,
        ))
    }
}
