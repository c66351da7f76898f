//! What a model is made of, and what it takes.

use std::sync::Arc;

use gradus_data::{Batch, Dataset};
use gradus_graph::backend::StepRow;
use gradus_graph::{Array, DType, Graph, Shape, Var, step_row};
use gradus_nn::{Loss, Metric, Network};

use crate::Error;
use crate::compile::Sabotage;

/// What was set at `compile` for all steps.
pub(crate) struct Spec {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) inputs: Vec<Field>,
    pub(crate) classes: Option<usize>,
    pub(crate) loss: Option<Arc<dyn Loss>>,
    /// What the steps `train` and `evaluate` report after the loss.
    pub(crate) metrics: Vec<Arc<dyn Metric>>,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    /// Samples of the data set that lies on the device, if one does.
    pub(crate) resident: Option<usize>,
    /// The batch that `verify` takes.
    pub(crate) sample: Batch,
    pub(crate) sabotage: Option<Sabotage>,
}

/// One array that the model takes: its name, and shape and dtype of one sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
    pub(crate) dtype: DType,
}

impl Field {
    pub(crate) fn new(name: &str, dims: Vec<usize>, dtype: DType) -> Self {
        Self {
            name: name.to_owned(),
            dims,
            dtype,
        }
    }

    /// The samples of an array `[N, …]`.
    pub(crate) fn of(name: &str, array: &Array) -> Self {
        let dims = array.shape().get(1..).unwrap_or_default().to_vec();
        Self::new(name, dims, array.dtype())
    }

    /// 32-bit words of one sample.
    pub(crate) fn words(&self) -> usize {
        self.dims.iter().product()
    }

    /// Refuses an array of other samples.
    pub(crate) fn check(&self, found: &Self) -> Result<(), Error> {
        if (&self.dims, self.dtype) == (&found.dims, found.dtype) {
            return Ok(());
        }
        Err(Error::Samples {
            name: self.name.clone(),
            expected: self.dims.clone(),
            expected_dtype: self.dtype,
            found: found.dims.clone(),
            found_dtype: found.dtype,
        })
    }

    pub(crate) fn declare<'g>(&self, graph: &'g Graph, batch: usize) -> Var<'g> {
        let dims: Vec<usize> = std::iter::once(batch).chain(self.dims.clone()).collect();
        graph.input(&self.name, dims, self.dtype)
    }
}

impl Spec {
    /// The step row of a step, without its place in the ring: `step` counts those of the model,
    /// `first` is the position of its batch in the order of the resident data set, `optimizer`
    /// what the optimizer has to say.
    pub(crate) fn row(&self, step: u32, first: u32, optimizer: &[f32]) -> StepRow {
        row(self.seed, step, first, optimizer)
    }
}

/// The same with another seed.
pub(crate) fn row(seed: u64, step: u32, first: u32, optimizer: &[f32]) -> StepRow {
    let mut row = [0; step_row::WORDS];
    let fixed = [
        (step_row::STEP, step),
        (step_row::SEED_LOW, (seed & u64::from(u32::MAX)) as u32),
        (step_row::SEED_HIGH, (seed >> 32) as u32),
        (step_row::BATCH, first),
    ];
    let optimizer = optimizer.iter().map(|word| word.to_bits());
    for (at, word) in fixed
        .into_iter()
        .chain((step_row::OPTIMIZER..).zip(optimizer))
    {
        if let Some(slot) = row.get_mut(at as usize) {
            *slot = word;
        }
    }
    row
}

/// Refuses a batch that lacks one of the fields, or has another; gives its number of samples.
pub(crate) fn check_batch(fields: &[Field], batch: &Batch) -> Result<usize, Error> {
    let samples = batch.len();
    for field in fields {
        let array = batch.get(&field.name).ok_or_else(|| Error::Missing {
            name: field.name.clone(),
            found: batch.fields().map(|(n, _)| n.to_owned()).collect(),
        })?;
        field.check(&Field::of(&field.name, array))?;
        let found = array.shape().first().copied().unwrap_or_default();
        if found != samples {
            return Err(Error::Count {
                name: field.name.clone(),
                expected: samples,
                found,
            });
        }
    }
    if samples == 0 {
        Err(Error::Empty)
    } else {
        Ok(samples)
    }
}

/// Refuses a batch with an array that is none of the fields.
pub(crate) fn check_extra(fields: &[Field], batch: &Batch) -> Result<(), Error> {
    let known = |name: &str| fields.iter().any(|field| field.name == name);
    match batch.fields().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(Error::Extra {
            name: name.to_owned(),
            expected: fields.iter().map(|field| field.name.clone()).collect(),
        }),
        None => Ok(()),
    }
}

/// Refuses a data set that lacks one of the fields.
pub(crate) fn check_data(fields: &[Field], data: &Dataset) -> Result<(), Error> {
    for field in fields {
        let mut arrays = data.fields();
        let found = arrays.find_map(|(name, array)| (name == field.name).then_some(array));
        let array = found.ok_or_else(|| Error::Missing {
            name: field.name.clone(),
            found: data.fields().map(|(n, _)| n.to_owned()).collect(),
        })?;
        field.check(&Field::of(&field.name, array))?;
    }
    Ok(())
}

/// The words of every array of these fields, by name.
pub(crate) fn words(fields: &[Field], batch: &Batch) -> Vec<(String, Vec<u32>)> {
    let taken = |name: &str| fields.iter().any(|field| field.name == name);
    let arrays = batch.fields().filter(|(name, _)| taken(name));
    arrays
        .map(|(name, array)| (name.to_owned(), array.to_words()))
        .collect()
}

/// Labels must be classes of the output.
pub(crate) fn check_classes(
    loss: &dyn Loss,
    classes: Option<usize>,
    output: Shape,
) -> Result<(), Error> {
    match (classes, loss.label_bound(&output)) {
        (Some(classes), Some(bound)) if classes > bound => Err(Error::Labels {
            classes,
            bound,
            output: output.to_vec(),
        }),
        _ => Ok(()),
    }
}
