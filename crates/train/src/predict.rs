//! Outputs for new samples.

use gradus_data::{Batch, Dataset};
use gradus_graph::{Array, DType, Data};

use crate::spec::{self, Field};
use crate::supervised::{CLASSES, PREDICT, PROBABILITIES};
use crate::{Error, Model};

/// What a model can be asked about: an [`Array`] of samples `[N, …]` or one sample `[…]` for the
/// first input, or a [`Batch`] or [`Dataset`] with all inputs by name.
pub trait Samples {
    /// The arrays by name. `input` is the name of the model's first input.
    fn batch(&self, input: &str) -> Batch;
}

impl Samples for Array {
    fn batch(&self, input: &str) -> Batch {
        Batch::new().with(input, self.clone())
    }
}

impl Samples for Batch {
    fn batch(&self, _: &str) -> Batch {
        self.clone()
    }
}

impl Samples for Dataset {
    fn batch(&self, _: &str) -> Batch {
        let inputs = self.inputs();
        inputs.fold(Batch::new(), |batch, (name, array)| {
            batch.with(name, array.clone())
        })
    }
}

impl Model {
    /// The network's first output: `[N, …]` for samples `[N, …]`, `[…]` for one sample.
    ///
    /// # Errors
    /// If the samples are not what the model was compiled for, or the device fails.
    pub fn predict(&mut self, samples: &impl Samples) -> Result<Array, Error> {
        let outputs = self.ask(samples, PREDICT)?;
        first(outputs)
    }

    /// All outputs of the network by name, each `[N, …]`.
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn predict_all(&mut self, samples: &impl Samples) -> Result<Batch, Error> {
        let outputs = self.ask(samples, PREDICT)?;
        Ok(outputs
            .into_iter()
            .fold(Batch::new(), |batch, (name, array)| batch.with(name, array)))
    }

    /// Probabilities, of the shape of the first output: softmax of the scores under
    /// cross-entropy, sigmoid under binary cross-entropy.
    ///
    /// # Errors
    /// As [`Model::predict`]; also if the loss knows no probabilities.
    pub fn predict_proba(&mut self, samples: &impl Samples) -> Result<Array, Error> {
        let outputs = self.ask(samples, PROBABILITIES)?;
        first(outputs)
    }

    /// Classes, row-major: one a sample, unless the network has more to say about each.
    ///
    /// # Errors
    /// As [`Model::predict`]; also if the loss knows no classes.
    pub fn predict_classes(&mut self, samples: &impl Samples) -> Result<Vec<i32>, Error> {
        let outputs = self.ask(samples, CLASSES)?;
        match first(outputs)?.into_data() {
            Data::I32(classes) => Ok(classes),
            other => Err(Error::Array(gradus_graph::ArrayError::DType {
                expected: DType::I32,
                found: other.dtype(),
            })),
        }
    }

    fn ask(&mut self, samples: &impl Samples, what: &str) -> Result<Vec<(String, Array)>, Error> {
        let step = self.find(what)?;
        let input = self.spec.inputs.first().map_or("", |f| f.name.as_str());
        let (batch, single) = self.with_batch_axis(samples.batch(input))?;
        let count = spec::check_batch(self.fields(step), &batch)?;
        self.settle()?;
        let outcome = self.run_batches(&batch, count, step);
        let outputs = self.clean(outcome)?;
        let finish = |output: Output| output.finish(count, single);
        outputs.into_iter().map(finish).collect()
    }

    /// Gives a single sample the axis of the batch.
    fn with_batch_axis(&self, batch: Batch) -> Result<(Batch, bool), Error> {
        let is_sample = |field: &Field| {
            let array = batch.get(&field.name);
            array.is_some_and(|a| a.shape().to_vec() == field.dims)
        };
        if !self.spec.inputs.iter().all(is_sample) {
            return Ok((batch, false));
        }
        let mut with_axis = Batch::new();
        for (name, array) in batch.fields() {
            let dims = [&[1], &array.shape()[..]].concat();
            with_axis = with_axis.with(name, array.clone().reshape(dims)?);
        }
        Ok((with_axis, true))
    }

    fn run_batches(
        &mut self,
        batch: &Batch,
        count: usize,
        step: usize,
    ) -> Result<Vec<Output>, Error> {
        let words = spec::words(self.fields(step), batch);
        let mut outputs: Vec<Output> = Vec::new();
        let mut start = 0;
        while start < count {
            let rows = self.spec.batch.min(count - start);
            // A power of two, so that few plans serve every number of samples.
            let size = rows.next_power_of_two().min(self.spec.batch);
            let program = self.program((step, size, false))?;
            let slices = words.iter().map(|(name, words)| {
                let width = words.len() / count;
                let slice = words.get(start * width..(start + rows) * width);
                (name.as_str(), slice.unwrap_or_default())
            });
            self.engine.feed(program, slices, rows)?;
            let row = self.spec.row(self.step, 0, &[]);
            self.engine
                .submit(program, &[row], u64::from(self.step), rows)?;
            self.engine.drain()?;
            self.engine.take_done().for_each(drop);
            for (i, name) in self.engine.outputs(program).into_iter().enumerate() {
                let array = self.engine.output(program, &name)?;
                if outputs.len() <= i {
                    outputs.push(Output::new(name, &array));
                }
                if let Some(output) = outputs.get_mut(i) {
                    output.add(&array, rows, size)?;
                }
            }
            start += rows;
        }
        Ok(outputs)
    }
}

/// An output, collected over batches.
struct Output {
    name: String,
    dims: Vec<usize>,
    dtype: DType,
    words: Vec<u32>,
}

impl Output {
    fn new(name: String, array: &Array) -> Self {
        Self {
            name,
            dims: array.shape().get(1..).unwrap_or_default().to_vec(),
            dtype: array.dtype(),
            words: Vec::new(),
        }
    }

    /// Adds the first `rows` of `size` samples.
    fn add(&mut self, array: &Array, rows: usize, size: usize) -> Result<(), Error> {
        if array.shape().first() != Some(&size) {
            return Err(Error::setting(format!(
                "output `{}` {} has no axis of {size} samples at the front",
                self.name,
                array.shape()
            )));
        }
        let words = array.to_words();
        let taken = words.get(..rows * (words.len() / size)).unwrap_or_default();
        self.words.extend_from_slice(taken);
        Ok(())
    }

    fn finish(self, count: usize, single: bool) -> Result<(String, Array), Error> {
        let mut dims = self.dims;
        if !single {
            dims.insert(0, count);
        }
        // As many axes as the graph's shape had, so it is one.
        let shape = gradus_graph::Shape::try_new(&dims).ok_or(Error::Empty)?;
        Ok((
            self.name,
            Array::from_words(shape, self.dtype, &self.words)?,
        ))
    }
}

fn first(outputs: Vec<(String, Array)>) -> Result<Array, Error> {
    let output = outputs.into_iter().next();
    output.map(|(_, array)| array).ok_or(Error::Empty)
}
