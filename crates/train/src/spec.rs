//! What a model is made of, and what it takes.

use std::sync::Arc;

use gradus_data::{Batch, Dataset};
use gradus_graph::backend::StepRow;
use gradus_graph::{Array, DType, Graph, Optimizer, Shape, Var, step_row};
use gradus_nn::{Loss, Metric, Network};

use crate::compile::Sabotage;
use crate::trace::Purpose;
use crate::{Error, Scores};

/// Everything that was set at `compile`.
pub(crate) struct Spec {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) inputs: Vec<Field>,
    pub(crate) target: Field,
    pub(crate) classes: Option<usize>,
    pub(crate) loss: Arc<dyn Loss>,
    pub(crate) metrics: Vec<Arc<dyn Metric>>,
    pub(crate) optimizer: Arc<dyn Optimizer>,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    pub(crate) clip_norm: Option<f64>,
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
    /// The step row of a training step, without its place in the ring. `first` is the position
    /// of its batch in the order of the resident data set.
    pub(crate) fn row(&self, step: u32, first: u32) -> StepRow {
        let mut row = [0; step_row::WORDS];
        let fixed = [
            (step_row::STEP, step),
            (step_row::SEED_LOW, (self.seed & u64::from(u32::MAX)) as u32),
            (step_row::SEED_HIGH, (self.seed >> 32) as u32),
            (step_row::BATCH, first),
        ];
        let optimizer = self.optimizer.row(step).into_iter().map(f32::to_bits);
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

    /// Names for what a step reported: the loss, then the metrics.
    pub(crate) fn scores(&self, values: &[f64], samples: usize) -> Scores {
        let metrics = self.metrics.iter().map(|m| m.name());
        let names = std::iter::once("loss").chain(metrics);
        Scores::new(names.zip(values.iter().copied()), samples)
    }

    /// Refuses a batch that a step for this purpose cannot take; gives its number of samples.
    pub(crate) fn check_batch(&self, batch: &Batch, purpose: Purpose) -> Result<usize, Error> {
        let samples = batch.len();
        for field in self.fields(purpose) {
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

    /// Refuses a data set that the model cannot take.
    pub(crate) fn check_data(&self, data: &Dataset) -> Result<(), Error> {
        for field in self.fields(Purpose::Evaluate) {
            let mut fields = data.fields();
            let found = fields.find_map(|(name, array)| (name == field.name).then_some(array));
            let array = found.ok_or_else(|| Error::Missing {
                name: field.name.clone(),
                found: data.fields().map(|(n, _)| n.to_owned()).collect(),
            })?;
            field.check(&Field::of(&field.name, array))?;
        }
        Ok(())
    }

    /// The words of every array that a step for this purpose takes, by name.
    pub(crate) fn words(&self, batch: &Batch, purpose: Purpose) -> Vec<(String, Vec<u32>)> {
        let taken = |name: &str| self.fields(purpose).any(|field| field.name == name);
        let fields = batch.fields().filter(|(name, _)| taken(name));
        fields
            .map(|(name, array)| (name.to_owned(), array.to_words()))
            .collect()
    }

    /// The fields that a step for this purpose takes, in the order of the graph's inputs.
    pub(crate) fn fields(&self, purpose: Purpose) -> impl Iterator<Item = &Field> {
        let target = match purpose {
            Purpose::Train | Purpose::Evaluate => Some(&self.target),
            _ => None,
        };
        self.inputs.iter().chain(target)
    }

    /// Labels must be classes of the output.
    pub(crate) fn check_classes(&self, classes: Option<usize>, output: Shape) -> Result<(), Error> {
        match (classes, self.loss.label_bound(&output)) {
            (Some(classes), Some(bound)) if classes > bound => Err(Error::Labels {
                classes,
                bound,
                output: output.to_vec(),
            }),
            _ => Ok(()),
        }
    }
}
