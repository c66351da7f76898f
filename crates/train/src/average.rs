//! Models with the averages of their parameters in the parameters' place.

use gradus_graph::{AVERAGE, Array};

use crate::memory::Holds;
use crate::{Error, Model};

impl Model {
    /// Runs something with the averages that [`ema`](gradus_nn::OptimizerExt::ema) keeps in the
    /// place of the parameters: an evaluation, predictions, [`Model::save`]. Afterwards the
    /// parameters are those from before.
    ///
    /// Parameters without an average, and all of them before the first step, stand for
    /// themselves.
    ///
    /// ```
    /// use gradus_data::datasets;
    /// use gradus_nn::{Adam, CrossEntropy, OptimizerExt, Sequential};
    /// use gradus_train::{Compile, Device, Fit, IntoModel};
    ///
    /// let data = datasets::digits().take(64)?;
    /// let mut model = Sequential::new().dense(10).compile(
    ///     Compile::for_data(&data)
    ///         .device(Device::cpu())
    ///         .loss(CrossEntropy::new()).optimizer(Adam::new(1e-2).ema(0.99)),
    /// )?;
    /// model.fit(&data, Fit::epochs(2).quiet())?;
    /// let scores = model.averaged(|model| model.evaluate(&data))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If no step keeps averages, the device fails, or what `run` returns.
    pub fn averaged<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.settle()?;
        let mut kept = Vec::new();
        let mut any = false;
        for (at, vector) in self.kept.iter().enumerate() {
            let Holds::Optimizer {
                step, param, state, ..
            } = &vector.holds
            else {
                continue;
            };
            let Some(defined) = self.defined.get(*step) else {
                continue;
            };
            let update = defined.definition.update.as_ref();
            let states = update.map_or_else(Vec::new, |u| u.optimizer.states());
            let updates = update.map_or(0, |u| u.optimizer.updates(defined.count));
            if states.get(*state) == Some(&AVERAGE) {
                any = true;
                kept.extend((updates > 0).then_some((at, *param)));
            }
        }
        if !any {
            let message = "no step keeps averages: add `.ema(0.999)` to its optimizer";
            return Err(Error::setting(message));
        }
        let mut before: Vec<(usize, Array)> = Vec::new();
        for (at, param) in kept {
            let (Some(average), Some(place)) = (self.kept.get(at), self.kept.get(param)) else {
                continue;
            };
            let average = average.read(&mut self.engine)?;
            before.push((param, place.read(&mut self.engine)?));
            place.write(&mut self.engine, &average)?;
        }
        let outcome = run(self);
        let outcome = self.clean(outcome);
        self.settle()?;
        // The first value of a parameter is the one from before any average took its place.
        for (param, array) in before.iter().rev() {
            if let Some(place) = self.kept.get(*param) {
                place.write(&mut self.engine, array)?;
            }
        }
        outcome
    }
}
