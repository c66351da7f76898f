//! Proof that a device computes a model right.

mod bound;
mod case;
mod kernels;
mod report;
mod rules;
mod shake;
mod usage;
mod whole;

pub use bound::{Check, Failure};
pub use report::Verification;
pub use rules::Rules;

use std::sync::Arc;

use gradus_data::Batch;
use gradus_graph::backend::StepRow;
use gradus_graph::plan::{Plan, Role};
use gradus_graph::{Array, Graph, NodeId, Var};

use crate::engine::Handle;
use crate::memory;
use crate::program::readbacks;
use crate::trace::Purpose;
use crate::{Error, Model};
use case::Case;
use whole::{Outcome, Step};

impl Model {
    /// Runs one training step kernel by kernel and compares it with the reference:
    ///
    /// - each kernel with what it means, on the inputs it really had;
    /// - loss, metrics, gradients, updated parameters and optimizer states with the original
    ///   graph, before any optimization;
    /// - the gradient rules with central differences of the loss in f64;
    /// - the plans for evaluation and prediction, likewise;
    /// - every plan in one submit with the same plan kernel by kernel, bit by bit.
    ///
    /// The reference is plain code that shares nothing with the executors. The batch is taken
    /// from the data that the model was compiled for. The model stays as it is. The reference is
    /// slow: seconds for a small model, minutes for a large one.
    ///
    /// # Errors
    /// If the device fails. What is too far from the reference is no error here but in the
    /// report: ask [`Verification::passed`].
    pub fn verify(&mut self) -> Result<Verification, Error> {
        self.unchanged(Self::verify_from)
    }

    fn verify_from(&mut self, before: &[Array]) -> Result<Verification, Error> {
        let batch = self.spec.sample.clone();
        let resident = self.spec.resident.is_some();
        let program = self.program((Purpose::Train, self.spec.batch, resident))?;
        self.feed_sample(program, &batch, Purpose::Train, resident)?;
        let row = self.spec.row(self.step, 0);
        let (step, strict) = (self.steps(), self.device.is_cpu());
        let (mut kernels, ring) = kernels::check(self.engine.parts(program)?, &row, step, strict)?;
        let after = self.read_kept()?;
        let plan = self.engine.plan(program)?;
        let outcome = self.outcome(&plan, &ring, &after)?;

        let graph = Graph::new();
        let traced = self
            .spec
            .trace(&graph, &self.leaves, Purpose::Train, self.spec.batch)?;
        let ids = |vars: &[Var<'_>]| vars.iter().map(Var::id).collect::<Vec<NodeId>>();
        let gradients = ids(&traced.gradients);
        let scores: Vec<NodeId> = traced.readbacks.iter().map(|(_, var)| var.id()).collect();
        let case = self.case(&graph, &batch, before, row, Purpose::Train);
        let optimizer = Arc::clone(&self.spec.optimizer);
        let names: Vec<String> = self.leaves.params.iter().map(|p| p.name.clone()).collect();
        let states = self.by_param(before);
        let states: Vec<Vec<Array>> = states.into_iter().map(|s| s[1..].to_vec()).collect();
        let check = Step {
            case: &case,
            scores: &scores,
            gradients: &gradients,
            optimizer: &optimizer,
            clip_norm: self.spec.clip_norm,
            names: &names,
            states: &states,
            row: &row,
            strict,
        };
        let [mut of_scores, of_gradients, of_updates] = check.check(&outcome)?;
        let loss = scores.first().copied().unwrap_or(NodeId(0));
        let rules = rules::check(&graph, &case, loss, &gradients)?;

        self.restore(before)?;
        self.feed_sample(program, &batch, Purpose::Train, resident)?;
        self.engine.submit(program, &[row], step, self.spec.batch)?;
        self.engine.drain()?;
        let reported = self.engine.take_done().last().map(|done| done.values);
        let mut one_submit = same_bits(&self.read_kept()?, &after)
            && reported.is_some_and(|values| values == readbacks(&plan, &ring));
        self.restore(before)?;
        for purpose in [Purpose::Evaluate, Purpose::Predict] {
            let usage = self.verify_usage(purpose, before)?;
            kernels.extend(usage.kernels);
            of_scores.extend(usage.results);
            one_submit &= usage.one_submit;
        }
        Ok(Verification {
            device: self.engine.describe(),
            kernels,
            scores: of_scores,
            gradients: of_gradients,
            updates: of_updates,
            rules,
            one_submit,
        })
    }

    /// Puts the sample where the plan takes its batch from.
    pub(crate) fn feed_sample(
        &mut self,
        program: Handle,
        batch: &Batch,
        purpose: Purpose,
        resident: bool,
    ) -> Result<(), Error> {
        let words = self.spec.words(batch, purpose);
        if !resident {
            let words = words
                .iter()
                .map(|(name, words)| (name.as_str(), &words[..]));
            return self.engine.feed(program, words, self.spec.batch);
        }
        // Samples and order both backwards, so that a kernel that forgets the order is found out.
        for (i, field) in self.spec.fields(Purpose::Train).enumerate() {
            let found = words.iter().find(|(name, _)| *name == field.name);
            let samples = found
                .map_or(&[][..], |(_, words)| words)
                .chunks(field.words().max(1));
            let backwards: Vec<u32> = samples.rev().flatten().copied().collect();
            self.engine.write(&Role::Resident(i), 0, &backwards)?;
        }
        let order = 0..u32::try_from(self.spec.batch).unwrap_or(u32::MAX);
        let order: Vec<u32> = order.rev().collect();
        self.engine.write(&Role::Order, 0, &order)
    }

    fn outcome(&mut self, plan: &Plan, ring: &[f32], after: &[Array]) -> Result<Outcome, Error> {
        let values = readbacks(plan, ring);
        let names = plan.readbacks.iter().map(|r| r.name.clone());
        Ok(Outcome {
            scores: names.zip(values).collect(),
            gradients: memory::gradients(&self.leaves, plan, &mut self.engine)?,
            updated: self.by_param(after),
        })
    }

    /// For each parameter its value and its optimizer states.
    fn by_param(&self, kept: &[Array]) -> Vec<Vec<Array>> {
        let params = self.leaves.params.len();
        let mirrors = 1 + self.spec.optimizer.states().len();
        let one = |i: usize| (0..mirrors).filter_map(move |k| kept.get(k * params + i).cloned());
        (0..params).map(|i| one(i).collect()).collect()
    }

    /// The nodes of a graph traced for `purpose`, with the batch and what is kept.
    fn case(
        &self,
        graph: &Graph,
        batch: &Batch,
        before: &[Array],
        row: StepRow,
        purpose: Purpose,
    ) -> Case {
        let params = self.leaves.params.len();
        let states = before.len() - self.leaves.states.len();
        let fields = self.spec.fields(purpose);
        Case {
            what: format!("the graph of `{}`", purpose.name()),
            nodes: graph.nodes(),
            inputs: fields.filter_map(|f| batch.get(&f.name).cloned()).collect(),
            params: before.iter().take(params).cloned().collect(),
            states: before.iter().skip(states).cloned().collect(),
            row,
        }
    }
}

fn same_bits(a: &[Array], b: &[Array]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_words() == b.to_words())
}
