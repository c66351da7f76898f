//! What can be wrong with data.

use std::path::PathBuf;

use gradus_graph::{ArrayError, DType, Shape};
use thiserror::Error;

use crate::idx::IdxError;

/// Why a data set, a split, a batch or a file was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// No samples, or samples without elements.
    #[error(
        "`{name}` of shape {shape} holds no data, expected at least one sample and one element"
    )]
    Empty {
        /// Name of the input or target.
        name: String,
        /// Its shape, samples first.
        shape: Shape,
    },
    /// A data set without inputs.
    #[error("a data set needs at least one input, found none")]
    NoInputs,
    /// A selection of no samples.
    #[error("a selection of no samples is no data set, expected at least one index")]
    NoSamples,
    /// A scalar where the first axis should count samples.
    #[error("`{name}` is a scalar, expected samples along a first axis")]
    NoSampleAxis {
        /// Name of the input or target.
        name: String,
    },
    /// Inputs and target differ in the number of samples.
    #[error("`{name}` has {found} samples, but `{other}` has {expected}")]
    SampleCount {
        /// Name of the input or target.
        name: String,
        /// Its number of samples.
        found: usize,
        /// Name of the field it is compared with.
        other: String,
        /// The number of samples there.
        expected: usize,
    },
    /// More samples than 32-bit indices reach.
    #[error("{found} samples, expected at most {}", u32::MAX)]
    TooManySamples {
        /// Number of samples given.
        found: usize,
    },
    /// Two fields of one name.
    #[error("two fields are named `{name}`, expected distinct names")]
    DuplicateName {
        /// The name used twice.
        name: String,
    },
    /// No field of this name.
    #[error("no field is named `{name}`, found {}", .names.join(", "))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// NaN or infinity, which shaders may assume never to meet.
    #[error("`{name}` has {value} at sample {sample}, element {element}, expected finite values")]
    NotFinite {
        /// Name of the input or target.
        name: String,
        /// The value found.
        value: f32,
        /// Index of the sample.
        sample: usize,
        /// Index within the sample, row-major.
        element: usize,
    },
    /// A target of a dtype that no loss takes.
    #[error("target of dtype {found}, expected i32 or u32 class labels or f32 values")]
    TargetDType {
        /// The dtype given.
        found: DType,
    },
    /// A class label below zero.
    #[error(
        "label {label} at sample {sample}, expected class labels from 0, or {} for none",
        crate::IGNORED
    )]
    NegativeLabel {
        /// The label found.
        label: i32,
        /// Index of the sample.
        sample: usize,
    },
    /// A class label at or above the number of classes.
    #[error("label {label} at sample {sample}, expected labels below {classes} classes")]
    LabelRange {
        /// The label found.
        label: u32,
        /// Index of the sample.
        sample: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A number of classes for a target that holds no class labels.
    #[error("target of dtype f32 has no classes, expected i32 or u32 class labels")]
    NoClasses,
    /// A part that is not strictly between nothing and everything.
    #[error("fraction {fraction}, expected a number above 0 and below 1")]
    Fraction {
        /// The fraction given.
        fraction: f64,
    },
    /// A split that leaves one side empty.
    #[error("splitting {len} samples into {first} and {second} leaves one side empty")]
    EmptySide {
        /// Number of samples.
        len: usize,
        /// Samples on the first side (training).
        first: usize,
        /// Samples on the second side (test).
        second: usize,
    },
    /// An index beyond the last sample.
    #[error("sample index {index}, expected an index below {len}")]
    Index {
        /// The index given.
        index: u32,
        /// Number of samples.
        len: usize,
    },
    /// A batch size of zero.
    #[error("batch size 0, expected at least 1")]
    BatchSize,
    /// A buffer that does not fit the samples gathered into it.
    #[error("buffer of {found} words for {samples} samples of `{name}`, expected {expected}")]
    BufferLength {
        /// Name of the field.
        name: String,
        /// Number of samples to gather.
        samples: usize,
        /// 32-bit words they take.
        expected: usize,
        /// 32-bit words of the buffer.
        found: usize,
    },
    /// An array could not be made.
    #[error("field `{name}` cannot take this shape")]
    Array {
        /// Name of the field.
        name: String,
        /// The cause.
        source: ArrayError,
    },
    /// A file could not be read.
    #[error("cannot read {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not valid IDX.
    #[error("{} is not a usable IDX file", .path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: IdxError,
    },
    /// A valid IDX file with other contents than expected.
    #[error("{} holds {found}, expected {expected}", .path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// Files of a data set are not where they should be.
    #[error("{} lacks {}; {help}", .folder.display(), .files.join(", "))]
    Missing {
        /// The folder searched.
        folder: PathBuf,
        /// The names searched for.
        files: Vec<String>,
        /// Where to get them and how to store them.
        help: String,
    },
    /// A character or word that a vocabulary lacks.
    #[error(
        "{token:?} at byte {position} is none of {tokens} tokens; name one for such with `unknown`"
    )]
    UnknownToken {
        /// The character or word.
        token: String,
        /// Where it first occurs.
        position: usize,
        /// Number of tokens.
        tokens: usize,
    },
    /// A number that is no token's.
    #[error("token {id}, expected a number from 0 below {tokens}")]
    TokenRange {
        /// The number found.
        id: i32,
        /// Number of tokens.
        tokens: usize,
    },
    /// More tokens than `i32` counts.
    #[error("a vocabulary of {found} tokens, expected at most {}", i32::MAX)]
    TooManyTokens {
        /// Number of tokens.
        found: usize,
    },
    /// Windows that hold nothing or do not move.
    #[error("windows of {length} tokens, one every {stride}: expected at least 1 of both")]
    Window {
        /// Tokens of a window.
        length: usize,
        /// Tokens from one window to the next.
        stride: usize,
    },
    /// A text that is shorter than a window and the token after it.
    #[error("{found} tokens make no window of {length} and the token that follows")]
    TooFewTokens {
        /// Number of tokens.
        found: usize,
        /// Tokens of a window.
        length: usize,
    },
    /// A sequence that is longer than what is to hold it.
    #[error("sequence {sample} has {found} tokens, expected at most {length}")]
    SequenceLength {
        /// Index of the sequence.
        sample: usize,
        /// Its number of tokens.
        found: usize,
        /// Tokens that there is room for.
        length: usize,
    },
    /// A length that cannot be made a multiple of this.
    #[error("the length cannot be a multiple of {multiple}, expected at least 1")]
    Multiple {
        /// The number given.
        multiple: usize,
    },
}
