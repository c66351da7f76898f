//! Several short documents in one row.

use std::collections::BTreeMap;

use gradus_graph::Array;

use super::{DOCUMENTS, POSITIONS, TOKENS};
use crate::{Batch, DataError, Dataset, IGNORED};

/// Puts several documents into each row of one length, so that little of a batch is padding.
///
/// ```
/// use gradus_data::text::{DOCUMENTS, POSITIONS, PackSequences, TOKENS};
///
/// let documents = [vec![5, 6, 7], vec![8, 9], vec![4]];
/// let batch = PackSequences::new(4).padding(0).batch(&documents)?;
/// let numbers = |name| batch.get(name).map(|a| a.as_i32().map(<[i32]>::to_vec));
/// assert_eq!(numbers(TOKENS), Some(Ok(vec![5, 6, 7, 4, 8, 9, 0, 0])));
/// assert_eq!(numbers(DOCUMENTS), Some(Ok(vec![1, 1, 1, 2, 1, 1, 0, 0])));
/// assert_eq!(numbers(POSITIONS), Some(Ok(vec![0, 1, 2, 0, 0, 1, 0, 0])));
/// # Ok::<(), gradus_data::DataError>(())
/// ```
///
/// A token attends to its own document alone by `Attend::new().documents(…)`; positions begin again
/// with each document by `LearnedPositions::at`. Each document goes to the row that it fills best, in
/// the order given; the same documents give the same rows.
///
/// Source: Krell et al. (2021), arXiv:2107.02027 (best fit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSequences {
    length: usize,
    padding: i32,
    split: bool,
}

impl PackSequences {
    /// Rows of `length` tokens, filled up with token 0.
    pub const fn new(length: usize) -> Self {
        Self {
            length,
            padding: 0,
            split: false,
        }
    }

    /// The token that rows are filled up with.
    #[must_use]
    pub const fn padding(mut self, token: i32) -> Self {
        self.padding = token;
        self
    }

    /// Cuts documents that are longer than a row into several; they are an error without it.
    #[must_use]
    pub const fn split(mut self) -> Self {
        self.split = true;
        self
    }

    /// [`TOKENS`], [`DOCUMENTS`] and [`POSITIONS`], `i32` `[B, T]` each. Empty documents vanish.
    ///
    /// # Errors
    /// If rows have no length, or a document is longer than a row.
    pub fn batch<S: AsRef<[i32]>>(&self, documents: &[S]) -> Result<Batch, DataError> {
        let rows = self.rows(documents, 0)?;
        self.fields(&rows)
    }

    /// The same as inputs of a data set whose target is the next token of the same document, or
    /// [`IGNORED`] where there is none: a document of `n + 1` tokens takes `n` places.
    ///
    /// # Errors
    /// As [`PackSequences::batch`]; also if no document has two tokens, or a token is negative.
    pub fn next_tokens<S: AsRef<[i32]>>(&self, documents: &[S]) -> Result<Dataset, DataError> {
        let rows = self.rows(documents, 1)?;
        let next = self.fill(&rows, IGNORED, |document, t| {
            document.get(t + 1).copied().unwrap_or(IGNORED)
        });
        Dataset::from_inputs(self.fields(&rows)?, self.array(&rows, next)?)
    }

    fn fields(&self, rows: &[Row<'_>]) -> Result<Batch, DataError> {
        let tokens = self.fill(rows, self.padding, |document, t| {
            document.get(t).copied().unwrap_or(self.padding)
        });
        let positions = self.fill(rows, 0, |_, t| i32::try_from(t).unwrap_or(i32::MAX));
        let mut numbers = Vec::with_capacity(tokens.len());
        for row in rows {
            let start = numbers.len();
            for (&(_, places), number) in row.iter().zip(1..) {
                numbers.extend(std::iter::repeat_n(number, places));
            }
            numbers.resize(start + self.length, 0);
        }
        Ok(Batch::new()
            .with(TOKENS, self.array(rows, tokens)?)
            .with(DOCUMENTS, self.array(rows, numbers)?)
            .with(POSITIONS, self.array(rows, positions)?))
    }

    /// One number for each place: that of a document at a time, or `none`.
    fn fill(&self, rows: &[Row<'_>], none: i32, number: impl Fn(&[i32], usize) -> i32) -> Vec<i32> {
        let mut all = Vec::with_capacity(rows.len() * self.length);
        for row in rows {
            let start = all.len();
            for &(document, places) in row {
                all.extend((0..places).map(|t| number(document, t)));
            }
            all.resize(start + self.length, none);
        }
        all
    }

    fn array(&self, rows: &[Row<'_>], values: Vec<i32>) -> Result<Array, DataError> {
        let array = Array::new([rows.len(), self.length], values);
        array.map_err(|source| DataError::Array {
            name: TOKENS.to_owned(),
            source,
        })
    }

    /// The documents of each row. The last `extra` tokens of a document take no place.
    fn rows<'d, S: AsRef<[i32]>>(
        &self,
        documents: &'d [S],
        extra: usize,
    ) -> Result<Vec<Row<'d>>, DataError> {
        if self.length == 0 {
            return Err(DataError::Window {
                length: 0,
                stride: 1,
            });
        }
        let mut rows: Vec<Row<'d>> = Vec::new();
        // Rows by the places that are left in them.
        let mut open: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (sample, document) in documents.iter().enumerate() {
            let all = document.as_ref();
            let found = all.len().saturating_sub(extra);
            if found > self.length && !self.split {
                return Err(DataError::SequenceLength {
                    sample,
                    found,
                    length: self.length,
                });
            }
            for start in (0..found).step_by(self.length) {
                let places = self.length.min(found - start);
                let part = all.get(start..start + places + extra).unwrap_or_default();
                let best = open.range_mut(places..).next();
                let (free, row) = match best {
                    Some((&free, waiting)) => (free, waiting.pop()),
                    None => (self.length, None),
                };
                if open.get(&free).is_some_and(Vec::is_empty) {
                    open.remove(&free);
                }
                let row = row.unwrap_or(rows.len());
                match rows.get_mut(row) {
                    Some(row) => row.push((part, places)),
                    None => rows.push(vec![(part, places)]),
                }
                if free > places {
                    open.entry(free - places).or_default().push(row);
                }
            }
        }
        Ok(rows)
    }
}

/// Documents of a row, and how many places each takes.
type Row<'d> = Vec<(&'d [i32], usize)>;
