//! Which number each byte, character or word has.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::DataError;

/// The tokens of a language: bytes, characters or words, each with a number.
///
/// ```
/// use gradus_data::text::Vocabulary;
///
/// let letters = Vocabulary::chars(["whale", "sea"]).special(["<pad>"]);
/// assert_eq!(letters.len(), 7);
/// assert_eq!(letters.encode("ale")?, [1, 4, 2]);
/// assert_eq!(letters.decode(&[6, 3, 1, 4, 2, 0])?, "whale");
/// assert!(letters.encode("ship").is_err());
/// # Ok::<(), gradus_data::DataError>(())
/// ```
///
/// Special tokens come first, then the others in the order of their bytes; texts alone decide which
/// there are, not their order. A text never becomes a special token, but for pieces that are not
/// known ([`Vocabulary::unknown`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    unit: Unit,
    special: Vec<String>,
    /// Empty for bytes, which are their own numbers.
    pieces: Vec<String>,
    ids: BTreeMap<String, usize>,
    unknown: Option<usize>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Byte,
    Char,
    Word,
}

impl Vocabulary {
    /// All 256 bytes, each its own number: every text has tokens.
    pub fn bytes() -> Self {
        Self::new(Unit::Byte, BTreeSet::new())
    }

    /// The characters (Unicode scalar values) of these texts.
    pub fn chars<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut chars = BTreeSet::new();
        for text in texts {
            chars.extend(text.as_ref().chars());
        }
        Self::new(Unit::Char, chars.into_iter().map(String::from))
    }

    /// The words of these texts: what stands between white space. [`Vocabulary::decode`] puts one
    /// space between words.
    pub fn words<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut words = BTreeSet::new();
        for text in texts {
            words.extend(text.as_ref().split_whitespace().map(str::to_owned));
        }
        Self::new(Unit::Word, words)
    }

    fn new(unit: Unit, pieces: impl IntoIterator<Item = String>) -> Self {
        let pieces: Vec<String> = pieces.into_iter().collect();
        Self {
            unit,
            special: Vec::new(),
            ids: pieces.iter().cloned().zip(0..).collect(),
            pieces,
            unknown: None,
        }
    }

    /// Tokens that no text has, for padding, beginning and end, say: after those that there are,
    /// before all others. A name that is taken adds nothing.
    #[must_use]
    pub fn special<T: Into<String>>(mut self, tokens: impl IntoIterator<Item = T>) -> Self {
        for token in tokens.into_iter().map(Into::into) {
            if !self.special.contains(&token) {
                self.special.push(token);
            }
        }
        self
    }

    /// A special token for characters and words that the vocabulary lacks; they are an error
    /// without it.
    #[must_use]
    pub fn unknown(self, token: &str) -> Self {
        let mut with = self.special([token]);
        with.unknown = with.special.iter().position(|t| t == token);
        with
    }

    /// Number of tokens, special ones included: one past the largest number.
    pub fn len(&self) -> usize {
        let pieces = match self.unit {
            Unit::Byte => 256,
            Unit::Char | Unit::Word => self.pieces.len(),
        };
        self.special.len() + pieces
    }

    /// True if there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a token, special or not; `None` if there is no such token. A byte is asked for
    /// as a text of one byte.
    pub fn id(&self, token: &str) -> Option<i32> {
        let special = self.special.iter().position(|t| t == token);
        let id = special.or_else(|| match (self.unit, token.as_bytes()) {
            (Unit::Byte, &[byte]) => Some(self.special.len() + usize::from(byte)),
            (Unit::Byte, _) => None,
            (Unit::Char | Unit::Word, _) => Some(self.special.len() + self.ids.get(token)?),
        });
        i32::try_from(id?).ok()
    }

    /// The token of this number, � for a byte that is no character alone; `None` if there is no such
    /// token.
    pub fn token(&self, id: i32) -> Option<Cow<'_, str>> {
        let id = usize::try_from(id).ok()?;
        if let Some(special) = self.special.get(id) {
            return Some(Cow::Borrowed(special));
        }
        let id = id - self.special.len();
        match self.unit {
            Unit::Byte => {
                let byte = u8::try_from(id).ok()?;
                Some(Cow::Owned(String::from_utf8_lossy(&[byte]).into_owned()))
            }
            Unit::Char | Unit::Word => self.pieces.get(id).map(|t| Cow::Borrowed(t.as_str())),
        }
    }

    /// The tokens of a text, without special ones.
    ///
    /// # Errors
    /// If the vocabulary lacks a character or word, and has no token for such.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, DataError> {
        let number = |id: usize| self.number(self.special.len() + id);
        match self.unit {
            Unit::Byte => text.bytes().map(|b| number(usize::from(b))).collect(),
            Unit::Char => {
                let mut bytes = [0; 4];
                text.chars()
                    .map(|c| self.piece(c.encode_utf8(&mut bytes), text))
                    .collect()
            }
            Unit::Word => text
                .split_whitespace()
                .map(|word| self.piece(word, text))
                .collect(),
        }
    }

    fn piece(&self, piece: &str, text: &str) -> Result<i32, DataError> {
        match (self.ids.get(piece), self.unknown) {
            (Some(&id), _) => self.number(self.special.len() + id),
            (None, Some(unknown)) => self.number(unknown),
            (None, None) => Err(DataError::UnknownToken {
                token: piece.to_owned(),
                // The first time that it occurs is the first time that it is looked up.
                position: text.find(piece).unwrap_or_default(),
                tokens: self.len(),
            }),
        }
    }

    fn number(&self, id: usize) -> Result<i32, DataError> {
        i32::try_from(id).map_err(|_| DataError::TooManyTokens { found: self.len() })
    }

    /// The text of tokens, without special ones; � for bytes that are no UTF-8.
    ///
    /// # Errors
    /// If a number is not that of a token.
    pub fn decode(&self, ids: &[i32]) -> Result<String, DataError> {
        let mut bytes = Vec::with_capacity(ids.len());
        for &id in ids {
            let index = usize::try_from(id).ok().filter(|&id| id < self.len());
            let Some(index) = index else {
                let tokens = self.len();
                return Err(DataError::TokenRange { id, tokens });
            };
            let Some(index) = index.checked_sub(self.special.len()) else {
                continue;
            };
            match (self.unit, u8::try_from(index), self.pieces.get(index)) {
                (Unit::Byte, Ok(byte), _) => bytes.push(byte),
                (Unit::Word, _, Some(word)) => {
                    if !bytes.is_empty() {
                        bytes.push(b' ');
                    }
                    bytes.extend_from_slice(word.as_bytes());
                }
                (_, _, Some(piece)) => bytes.extend_from_slice(piece.as_bytes()),
                (_, _, None) => {}
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
