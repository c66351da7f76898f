//! Parameters and states by name.

use gradus_graph::Array;

use crate::memory::{Holds, Kept};
use crate::{Error, Model};

impl Model {
    /// The names of parameters and states, in the order in which training first uses them; the
    /// names in checkpoints.
    pub fn parameter_names(&self) -> Vec<&str> {
        self.parameters().map(|kept| kept.name.as_str()).collect()
    }

    /// Number of trained numbers.
    pub fn parameter_count(&self) -> usize {
        self.layout
            .leaves
            .params
            .iter()
            .map(|p| p.shape.numel())
            .sum()
    }

    /// The values of a parameter or state. Waits for the steps under way.
    ///
    /// # Errors
    /// If there is none of this name, or the device fails.
    pub fn parameter(&mut self, name: &str) -> Result<Array, Error> {
        self.settle()?;
        let kept = self.named(name)?.clone();
        kept.read(&mut self.engine)
    }

    /// Gives a parameter or state new values. The optimizer's vectors stay as they are.
    ///
    /// # Errors
    /// If there is none of this name, it has another shape or dtype, or the device fails.
    pub fn set_parameter(&mut self, name: &str, values: &Array) -> Result<(), Error> {
        self.settle()?;
        let kept = self.named(name)?.clone();
        if (kept.shape, kept.dtype) != (*values.shape(), values.dtype()) {
            return Err(Error::Parameter {
                name: name.to_owned(),
                message: format!(
                    "expected {} {}, found {} {}",
                    kept.dtype,
                    kept.shape,
                    values.dtype(),
                    values.shape()
                ),
            });
        }
        kept.write(&mut self.engine, values)
    }

    fn parameters(&self) -> impl Iterator<Item = &Kept> {
        let is_vector = |kept: &&Kept| matches!(kept.holds, Holds::Optimizer { .. });
        self.kept.iter().filter(move |kept| !is_vector(kept))
    }

    fn named(&self, name: &str) -> Result<&Kept, Error> {
        let found = self.parameters().find(|kept| kept.name == name);
        found.ok_or_else(|| Error::Parameter {
            name: name.to_owned(),
            message: format!("the model has `{}`", self.parameter_names().join("`, `")),
        })
    }
}
