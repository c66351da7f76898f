//! The plans of use, for evaluation and prediction, against the reference.

use gradus_graph::{Array, Graph, NodeId};

use super::bound::{Check, Reference, numbers};
use super::kernels;
use crate::program::readbacks;
use crate::trace::Purpose;
use crate::{Error, Model};

/// What was found about a plan of use.
pub(super) struct Usage {
    /// Each result of each kernel.
    pub(super) kernels: Vec<Check>,
    /// Scores or outputs against the original graph.
    pub(super) results: Vec<Check>,
    /// True if one submit reported the same bits as kernel by kernel.
    pub(super) one_submit: bool,
}

impl Model {
    /// Checks the plan for evaluation or prediction, at the parameters `kept`.
    pub(super) fn verify_usage(
        &mut self,
        purpose: Purpose,
        kept: &[Array],
    ) -> Result<Usage, Error> {
        let samples = self.spec.batch;
        let batch = self.spec.sample.clone();
        let program = self.program((purpose, samples, false))?;
        self.feed_sample(program, &batch, purpose, false)?;
        let row = self.spec.row(self.step, 0);
        let (step, strict) = (self.steps(), self.device.is_cpu());
        let (kernels, ring) = kernels::check(self.engine.parts(program)?, &row, step, strict)?;
        let stepped = self.results(purpose, program, &ring)?;

        self.engine.submit(program, &[row], step, samples)?;
        self.engine.drain()?;
        let reported = self.engine.take_done().last().map(|done| done.values);
        let mut found = self.results(purpose, program, &ring)?;
        let plan = self.engine.plan(program)?;
        if purpose == Purpose::Evaluate {
            let values = reported.unwrap_or_default();
            let names = plan.readbacks.iter().map(|r| r.name.clone());
            found = names.zip(values.into_iter().map(|v| vec![v])).collect();
        }
        let bits = |results: &[(String, Vec<f64>)]| -> Vec<u64> {
            let values = results.iter().flat_map(|(_, values)| values);
            values.map(|v| v.to_bits()).collect()
        };
        let one_submit = bits(&stepped) == bits(&found);

        let graph = Graph::new();
        let traced = self.spec.trace(&graph, &self.leaves, purpose, samples)?;
        let wanted = traced.readbacks.iter().chain(&traced.outputs);
        let wanted: Vec<NodeId> = wanted.map(|(_, var)| var.id()).collect();
        let case = self.case(&graph, &batch, kept, row, purpose);
        let (exact, rounded) = (case.eval::<f64>(&wanted)?, case.eval::<f32>(&wanted)?);
        let mut results = Vec::with_capacity(wanted.len());
        let references = exact.into_iter().zip(rounded).zip(&wanted);
        for ((name, found), ((exact, rounded), &node)) in found.iter().zip(references) {
            let mut reference = Reference {
                exact,
                rounded,
                terms: case.terms(),
            };
            let name = format!("{name} in {}", purpose.name());
            results.push(case.judge(&mut reference, &name, found, strict, node)?);
        }
        Ok(Usage {
            kernels,
            results,
            one_submit,
        })
    }

    /// What a plan of use gave: scores from its ring row, or outputs from memory.
    fn results(
        &mut self,
        purpose: Purpose,
        program: crate::engine::Handle,
        ring: &[f32],
    ) -> Result<Vec<(String, Vec<f64>)>, Error> {
        let plan = self.engine.plan(program)?;
        if purpose == Purpose::Evaluate {
            let names = plan.readbacks.iter().map(|r| r.name.clone());
            let values = readbacks(&plan, ring).into_iter().map(|v| vec![v]);
            return Ok(names.zip(values).collect());
        }
        let mut results = Vec::with_capacity(plan.outputs.len());
        for name in self.engine.outputs(program) {
            let array = self.engine.output(program, &name)?;
            results.push((name, numbers(&array)));
        }
        Ok(results)
    }
}
