//! Training over a data set.

use std::time::Instant;

use gradus_data::{Dataset, Order};
use gradus_graph::plan::Role;

use crate::environment;
use crate::profile::Profiler;
use crate::progress::Progress;
use crate::scores::Totals;
use crate::supervised::TRAIN;
use crate::{Epoch, Error, History, Model, Scores};

/// Steps in one submit when nothing but step rows is uploaded.
const RESIDENT_STEPS: usize = 8;

/// How to train: for how long, and what to hold back.
///
/// ```
/// use gradus_train::Fit;
///
/// let fit = Fit::epochs(20).validation_split(0.1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until they are given to `fit`"]
pub struct Fit {
    epochs: usize,
    validation: Validation,
    shuffle: bool,
    drop_last: bool,
    progress: bool,
}

#[derive(Clone, Debug)]
enum Validation {
    None,
    Split(f64),
    Data(Dataset),
}

impl Fit {
    /// This many passes over the data. The environment variable `GRADUS_EXAMPLE_EPOCHS` lowers
    /// the number, so that examples can be tried for a few steps.
    pub const fn epochs(epochs: usize) -> Self {
        Self {
            epochs,
            validation: Validation::None,
            shuffle: true,
            drop_last: false,
            progress: true,
        }
    }

    /// Holds back a random share of the samples, in (0, 1), and scores it after every epoch. The
    /// seed of the model decides which.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation = Validation::Split(fraction);
        self
    }

    /// Scores these samples after every epoch.
    pub fn validation(mut self, data: &Dataset) -> Self {
        self.validation = Validation::Data(data.clone());
        self
    }

    /// Visits the samples in the order in which they lie.
    pub const fn in_order(mut self) -> Self {
        self.shuffle = false;
        self
    }

    /// Leaves out a last batch that would be shorter than the others; with shuffling it is made of
    /// other samples in every epoch.
    pub const fn drop_last(mut self) -> Self {
        self.drop_last = true;
        self
    }

    /// Shows no progress bar, on a terminal either.
    pub const fn quiet(mut self) -> Self {
        self.progress = false;
        self
    }
}

impl Model {
    /// Trains for some epochs: every sample once an epoch, in a new order each. A last, shorter
    /// batch is a step of its own size, unless [`Fit::drop_last`] leaves it out. Schedules that watch a loss see that of the validation
    /// samples, of the training samples if there are none.
    ///
    /// # Errors
    /// If the data is not what the model was compiled for or has no batch to train on, the device
    /// fails, or an index in the data is out of range. The model then stands after the last step that was submitted.
    pub fn fit(&mut self, data: &Dataset, fit: Fit) -> Result<History, Error> {
        self.check_data(data)?;
        let epochs = environment::example_epochs()?.map_or(fit.epochs, |most| most.min(fit.epochs));
        let (train, validation) = match fit.validation {
            Validation::None => (data.clone(), None),
            Validation::Data(validation) => {
                self.check_data(&validation)?;
                (data.clone(), Some(validation))
            }
            Validation::Split(fraction) => {
                let split = data.split(fraction, self.spec.seed)?;
                (split.train, Some(split.test))
            }
        };
        let samples = match fit.drop_last {
            true => train.len() - train.len() % self.spec.batch.max(1),
            false => train.len(),
        };
        if samples == 0 {
            let (found, batch) = (train.len(), self.spec.batch);
            let message = format!("{found} samples make no full batch of {batch}");
            return Err(Error::setting(message));
        }
        self.settle()?;
        let resident = self.upload_resident(&train)?;
        let bar = Progress::new(epochs, samples, fit.progress);
        let mut run = Run {
            profiler: Profiler::from_env(&bar)?,
            order: train.sequential(),
            data: &train,
            samples,
            resident,
            bar: &bar,
        };
        let mut history = History::default();
        for number in 0..epochs {
            bar.epoch(number);
            if fit.shuffle {
                run.order.reshuffle(self.spec.seed, self.epoch);
            }
            let start = Instant::now();
            let outcome = self.run_epoch(&mut run);
            let train = self.clean(outcome)?;
            let seconds = start.elapsed().as_secs_f64();
            let validation = validation.as_ref().map(|v| self.evaluate(v)).transpose()?;
            let watched = validation.as_ref().unwrap_or(&train).loss();
            self.end_epoch(watched);
            let epoch = Epoch {
                number: self.epoch,
                train,
                validation,
                seconds,
            };
            bar.line(|| epoch.to_string());
            history.epochs.push(epoch);
        }
        self.finish_profile(&mut run.profiler)?;
        bar.finish();
        Ok(history)
    }

    /// Copies the data set to the device, if the model was compiled for that and it fits.
    fn upload_resident(&mut self, data: &Dataset) -> Result<bool, Error> {
        let Some(room) = self.spec.resident else {
            return Ok(false);
        };
        if data.len() > room {
            log::warn!(
                "{} samples do not fit the {room} the model was compiled for: each batch is \
                 uploaded instead",
                data.len()
            );
            return Ok(false);
        }
        let order = data.sequential();
        let mut words = Vec::new();
        let train = self.find(TRAIN)?;
        for (i, field) in self.fields(train).to_vec().iter().enumerate() {
            words.clear();
            words.resize(data.len() * field.words(), 0);
            data.gather_into(&field.name, order.indices(), &mut words)?;
            self.engine.write(&Role::Resident(i), 0, &words)?;
        }
        Ok(true)
    }

    fn run_epoch(&mut self, run: &mut Run<'_>) -> Result<Scores, Error> {
        let mut totals = Totals::default();
        let train = self.find(TRAIN)?;
        if run.resident {
            self.run_resident(run, &mut totals)?;
        } else {
            let batches = run.samples.div_ceil(self.spec.batch);
            for indices in run.order.batches(self.spec.batch)?.take(batches) {
                let program = self.program((train, indices.len(), false))?;
                self.engine.gather(program, run.data, indices)?;
                self.train_profiled(&mut run.profiler, (train, program), &[0], indices.len())?;
                self.report(run, &mut totals);
            }
        }
        self.engine.drain()?;
        self.report(run, &mut totals);
        Ok(totals.scores(&self.spec.metrics))
    }

    /// Steps over the data set on the device, several in one submit.
    fn run_resident(&mut self, run: &mut Run<'_>, totals: &mut Totals) -> Result<(), Error> {
        self.engine.write(&Role::Order, 0, run.order.indices())?;
        let (batch, train) = (self.spec.batch, self.find(TRAIN)?);
        let mut first = 0;
        while first < run.samples {
            let samples = batch.min(run.samples - first);
            let program = self.program((train, samples, true))?;
            let full = ((run.samples - first) / samples).max(1);
            let phase = self.phase(train, 0);
            let same = |&i: &usize| self.phase(train, u32::try_from(i).unwrap_or(0)) == phase;
            let alike = (0..full.min(RESIDENT_STEPS)).take_while(same).count();
            let count = alike.max(1);
            // The data set has fewer than 2³² samples.
            let firsts = (0..count).map(|i| u32::try_from(first + i * samples).unwrap_or(u32::MAX));
            let firsts: Vec<u32> = firsts.collect();
            self.train_profiled(&mut run.profiler, (train, program), &firsts, samples)?;
            self.report(run, totals);
            first += count * samples;
        }
        Ok(())
    }

    /// Takes in what steps reported.
    fn report(&mut self, run: &Run<'_>, totals: &mut Totals) {
        let mut samples = 0;
        for done in self.engine.take_done() {
            totals.add(&done);
            samples += done.samples;
        }
        run.bar
            .advance(samples, || totals.scores(&self.spec.metrics));
    }
}

/// One call of `fit`.
struct Run<'a> {
    data: &'a Dataset,
    /// How many of them an epoch visits.
    samples: usize,
    order: Order,
    resident: bool,
    profiler: Option<Profiler<'a>>,
    bar: &'a Progress,
}
