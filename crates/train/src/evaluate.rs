//! Scores of a data set.

use gradus_data::Dataset;

use crate::scores::Totals;
use crate::spec;
use crate::supervised::EVALUATE;
use crate::{Error, Model, Scores};

impl Model {
    /// Loss and metrics over a data set, as the network is used: without dropout. Parameters and
    /// states stay as they are.
    ///
    /// # Errors
    /// If the data is not what the model was compiled for, the device fails, or an index in the
    /// data is out of range.
    pub fn evaluate(&mut self, data: &Dataset) -> Result<Scores, Error> {
        self.check_data(data)?;
        self.settle()?;
        let outcome = self.run_evaluation(data);
        self.clean(outcome)
    }

    fn run_evaluation(&mut self, data: &Dataset) -> Result<Scores, Error> {
        let mut totals = Totals::default();
        let (step, evaluate) = (self.steps(), self.find(EVALUATE)?);
        for indices in data.sequential().batches(self.spec.batch)? {
            let samples = indices.len();
            let program = self.program((evaluate, samples, false))?;
            self.engine.gather(program, data, indices)?;
            let row = self.spec.row(self.step, 0, &[]);
            self.engine.submit(program, &[row], step, samples)?;
        }
        self.engine.drain()?;
        for done in self.engine.take_done() {
            totals.add(&done);
        }
        Ok(totals.scores(&self.spec.metrics))
    }

    /// Refuses a data set that the model cannot take.
    pub(crate) fn check_data(&self, data: &Dataset) -> Result<(), Error> {
        let evaluate = self.find(EVALUATE)?;
        spec::check_data(self.fields(evaluate), data)?;
        match &self.spec.loss {
            Some(loss) => spec::check_classes(&**loss, data.classes(), self.output),
            None => Ok(()),
        }
    }

    /// After a failure nothing of the interrupted work may be left for the next call.
    pub(crate) fn clean<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.engine.discard();
        }
        outcome
    }
}
