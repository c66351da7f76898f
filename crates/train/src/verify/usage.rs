//! The plans of use, for evaluation and prediction, against the reference.

use gradus_graph::{Array, Graph, NodeId};

use super::bound::Reference;
use super::{Verification, kernels};
use crate::program::readbacks;
use crate::{Error, Model};

impl Model {
    /// Checks a step that trains nothing, at the parameters `kept`.
    pub(super) fn verify_usage(
        &mut self,
        step: usize,
        kept: &[Array],
        verification: &mut Verification,
    ) -> Result<(), Error> {
        let Some(defined) = self.defined.get(step) else {
            return Ok(());
        };
        let (samples, definition) = (self.spec.batch, defined.definition.clone());
        let program = self.program((step, samples, false))?;
        self.feed_sample(step, program)?;
        let (row, number, strict) = (self.row(step, 0, 0), self.steps(), self.device.is_cpu());
        let (kernels, ring) = kernels::check(self.engine.parts(program)?, &row, number, strict)?;
        let plan = self.engine.plan(program)?;
        let stepped = self.results(program, readbacks(&plan, &ring))?;

        self.engine.submit(program, &[row], number, samples)?;
        self.engine.drain()?;
        let reported = self.engine.take_done().last().map(|done| done.values);
        let found = self.results(program, reported.unwrap_or_default())?;
        let bits = |results: &[(String, Vec<f64>)]| -> Vec<u64> {
            let values = results.iter().flat_map(|(_, values)| values);
            values.map(|v| v.to_bits()).collect()
        };
        verification.one_submit &= bits(&stepped) == bits(&found);
        verification.kernels.extend(kernels);

        let graph = Graph::new();
        let traced = definition.trace(&graph, &self.layout.leaves, samples)?;
        let wanted = traced.reports.iter().chain(&traced.outputs);
        let wanted: Vec<NodeId> = wanted.map(|(_, var)| var.id()).collect();
        let case = self.case(&graph, &definition, kept, row);
        let (exact, rounded) = (case.eval::<f64>(&wanted)?, case.eval::<f32>(&wanted)?);
        let references = exact.into_iter().zip(rounded).zip(&wanted);
        for ((name, found), ((exact, rounded), &node)) in found.iter().zip(references) {
            let mut reference = Reference {
                exact,
                rounded,
                terms: case.terms(),
            };
            let name = format!("{name} in {}", definition.name);
            let check = case.judge(&mut reference, &name, found, strict, node)?;
            verification.scores.push(check);
        }
        Ok(())
    }
}
