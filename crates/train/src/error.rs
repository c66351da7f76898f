//! What can go wrong with a model.

use std::path::PathBuf;

use gradus_cpu::oracle::OracleError;
use gradus_data::DataError;
use gradus_graph::backend::BackendError;
use gradus_graph::plan::{PlanError, SlabError};
use gradus_graph::{ArrayError, BuildError, DType};
use thiserror::Error;

use crate::checkpoint::CheckpointError;

/// Why a model could not be built, run, saved or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer, loss or metric does not fit its inputs.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A parameter that no binding of the device can hold.
    #[error(transparent)]
    Slab(#[from] SlabError),
    /// The step cannot be planned for this device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The data is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An array is wrong.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// No device is what was asked for.
    #[error(transparent)]
    Device(Box<dyn std::error::Error + Send + Sync>),
    /// A setting of `compile` is missing or out of range.
    #[error("cannot compile: {message}")]
    Setting {
        /// What is wrong and what to do.
        message: String,
    },
    /// Sequences that cannot be continued.
    #[error("cannot generate: {message}")]
    Generate {
        /// What is wrong and what was expected.
        message: String,
    },
    /// An environment variable holds something else than it may.
    #[error("{name}={value}: expected {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An initializer made another number of values than its parameter has.
    #[error(
        "the initializer of `{name}` {shape:?} made {found} values, expected {}",
        .shape.iter().product::<usize>()
    )]
    Init {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Values made.
        found: usize,
    },
    /// Data lacks an array that the model takes.
    #[error("the model takes `{name}`, but the data has {}", list(.found))]
    Missing {
        /// The model's name.
        name: String,
        /// The names in the data.
        found: Vec<String>,
    },
    /// A batch with an array that the step does not take.
    #[error("the step takes {}, but the batch also has `{name}`", list(.expected))]
    Extra {
        /// The array's name.
        name: String,
        /// The names that the step takes.
        expected: Vec<String>,
    },
    /// A step that the model does not have.
    #[error(
        "the model has no step `{name}`, only {}; `.loss(…)` and `.optimizer(…)` at `compile` \
         define `train`, `define_step` defines others",
        list(.found)
    )]
    Step {
        /// The name asked for.
        name: String,
        /// The names there are.
        found: Vec<String>,
    },
    /// A parameter or state that the model does not have, or an array that does not fit it.
    #[error("`{name}`: {message}")]
    Parameter {
        /// The name asked for.
        name: String,
        /// What there is, or what was expected and found.
        message: String,
    },
    /// Samples of another shape or dtype than the model was compiled for.
    #[error(
        "`{name}`: the model takes samples {expected_dtype} {expected:?}, found {found_dtype} \
         {found:?}"
    )]
    Samples {
        /// The input or target.
        name: String,
        /// The model's shape of a sample.
        expected: Vec<usize>,
        /// The model's dtype.
        expected_dtype: DType,
        /// The shape of a sample in the data.
        found: Vec<usize>,
        /// The dtype in the data.
        found_dtype: DType,
    },
    /// Arrays of one batch with different numbers of samples.
    #[error("`{name}` has {found} samples, the arrays before it {expected}")]
    Count {
        /// The input or target.
        name: String,
        /// Samples of the first array.
        expected: usize,
        /// Samples of this one.
        found: usize,
    },
    /// No samples.
    #[error("there are no samples")]
    Empty,
    /// More classes in the labels than the model tells apart.
    #[error(
        "labels go up to {}, but the output {output:?} has {bound} classes: make the last layer \
         {classes} wide", .classes.saturating_sub(1)
    )]
    Labels {
        /// Classes in the data.
        classes: usize,
        /// Classes of the output.
        bound: usize,
        /// The shape of the output, batch included.
        output: Vec<usize>,
    },
    /// An index in the data (a label, a token) was out of range during a step.
    #[error(
        "index {value} in `{layer}` at {steps} is out of range, expected 0 to {}{}",
        .bound.saturating_sub(1), place(position.as_ref())
    )]
    Index {
        /// The layer that used the index.
        layer: String,
        /// The step, counted from 0, or the range of steps that ran together.
        steps: String,
        /// The index.
        value: i64,
        /// One past the largest allowed index.
        bound: u32,
        /// The input that holds it, and where it does so first: sample of the batch, then the axes
        /// of a sample. Not known if the index was computed.
        position: Option<(String, Vec<usize>)>,
    },
    /// The loss says nothing about classes or probabilities.
    #[error("{loss} gives no {what}; use `predict`")]
    NotClasses {
        /// The loss.
        loss: String,
        /// What was asked for.
        what: &'static str,
    },
    /// A ticket whose report was given out or dropped.
    #[error("step {step} has been reported or is too long ago: reports are kept for {kept} steps")]
    Ticket {
        /// The step.
        step: u64,
        /// How many reports are kept.
        kept: usize,
    },
    /// A checkpoint that cannot be written or read.
    #[error("checkpoint {}", .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<CheckpointError>,
    },
    /// The reference could not evaluate a kernel or the graph.
    #[error("the reference cannot evaluate {what}")]
    Oracle {
        /// The kernel, or the part of the graph.
        what: String,
        /// Why.
        source: Box<OracleError>,
    },
    /// A chart or a trace could not be written.
    #[error("cannot write {}: {message}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        message: String,
    },
    /// The file of [`Device::autotune`](crate::Device::autotune) cannot be used.
    #[error("cannot tune with {}: {message}", .path.display())]
    Tuning {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        message: String,
    },
}

impl Error {
    pub(crate) fn setting(message: impl Into<String>) -> Self {
        Self::Setting {
            message: message.into(),
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no arrays".into(),
        _ => format!("`{}`", names.join("`, `")),
    }
}

fn place(position: Option<&(String, Vec<usize>)>) -> String {
    position.map_or_else(String::new, |(input, at)| {
        format!("; `{input}` holds it at {at:?}")
    })
}
