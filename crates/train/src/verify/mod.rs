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

use crate::trace::{last_phase, rule};
use gradus_graph::backend::StepRow;
use gradus_graph::plan::Role;
use gradus_graph::{Array, Graph, NodeId, Var};

use crate::engine::Handle;
use crate::memory::{self, Holds, Kept};
use crate::program::readbacks;
use crate::step::{Definition, Update};
use crate::supervised::{CLASSES, PROBABILITIES};
use crate::{Error, Model, spec};
use bound::{Reference, numbers};
use case::Case;
use whole::Outcome;

impl Model {
    /// Runs each step of the model that trains kernel by kernel and compares it with the
    /// reference:
    ///
    /// - each kernel with what it means, on the inputs it really had;
    /// - loss, metrics, gradients, updated parameters and optimizer states with the original
    ///   graph, before any optimization;
    /// - the gradient rules with central differences of the loss in f64;
    /// - parameters that it does not train, and optimizer states of other steps, bit by bit;
    /// - steps that train nothing, as those for evaluation and prediction, likewise;
    /// - every plan in one submit with the same plan kernel by kernel, bit by bit.
    ///
    /// The reference is plain code that shares nothing with the executors. The batch is taken
    /// from the data that the model was compiled for; inputs that only steps of the program's own
    /// take are random. The model stays as it is. The reference is
    /// slow: seconds for a small model, minutes for a large one.
    ///
    /// # Errors
    /// If the device fails. What is too far from the reference is no error here but in the
    /// report: ask [`Verification::passed`].
    pub fn verify(&mut self) -> Result<Verification, Error> {
        self.unchanged(Self::verify_from)
    }

    fn verify_from(&mut self, before: &[Array]) -> Result<Verification, Error> {
        let mut found = Verification::new(self.engine.describe());
        for step in 0..self.defined.len() {
            let Some(defined) = self.defined.get(step) else {
                continue;
            };
            let name = defined.definition.name.as_str();
            // Functions of what `predict` gives; a loss may know neither.
            if matches!(name, PROBABILITIES | CLASSES) {
                continue;
            }
            match &defined.definition.update {
                Some(update) => {
                    let update = update.clone();
                    for phase in 0..=last_phase(Some(&update)) {
                        self.verify_training((step, phase), &update, before, &mut found)?;
                    }
                }
                None => self.verify_usage(step, before, &mut found)?,
            }
        }
        Ok(found)
    }

    /// Checks a step that trains, and leaves parameters and states as they were.
    fn verify_training(
        &mut self,
        (step, phase): (usize, usize),
        update: &Update,
        before: &[Array],
        found: &mut Verification,
    ) -> Result<(), Error> {
        let Some(defined) = self.defined.get(step) else {
            return Ok(());
        };
        let (definition, place) = (defined.definition.clone(), defined.place.clone());
        let samples = self.spec.batch;
        let program = self.program_in((step, samples, self.is_resident(step)), phase)?;
        self.feed_sample(step, program)?;
        // The next of its runs that is of this phase.
        let next = (0..).find(|&i| self.phase(step, i) == phase).unwrap_or(0);
        let (row, number, strict) = (self.row(step, next, 0), self.steps(), self.device.is_cpu());
        let (kernels, ring) = kernels::check(self.engine.parts(program)?, &row, number, strict)?;
        let after = self.read_kept()?;
        let plan = self.engine.plan(program)?;
        let outcome = Outcome {
            results: self.results(program, readbacks(&plan, &ring))?,
            gradients: memory::gradients(
                &self.layout,
                &place.trained,
                (&mut self.engine, program),
            )?,
            updated: self.by_param(step, &after),
        };

        let graph = Graph::new();
        let mut traced = definition.trace(&graph, &self.layout.leaves, samples)?;
        let gradients = definition.gradients(&graph, &mut traced, &place.trained)?;
        let gradients: Vec<NodeId> = gradients.iter().map(Var::id).collect();
        let results = traced.reports.iter().chain(&traced.outputs);
        let results: Vec<NodeId> = results.map(|(_, var)| var.id()).collect();
        let case = self.case(&graph, &definition, before, row);
        let names = place
            .trained
            .iter()
            .filter_map(|&i| self.layout.leaves.params.get(i));
        let names: Vec<String> = names.map(|p| p.name.clone()).collect();
        let check = whole::Step {
            case: &case,
            results: &results,
            gradients: &gradients,
            optimizer: rule(&*update.optimizer, phase),
            clip_norm: update.clip_norm,
            names: &names,
            vectors: &self.by_param(step, before),
            row: &row,
            strict,
        };
        let [of_results, of_gradients, of_updates] = check.check(&outcome)?;
        let loss = results.first().copied().unwrap_or(NodeId(0));
        let rules = rules::check(&graph, &case, loss, (&place.trained, &gradients))?;
        let others = self.check_others(step, before, &after)?;

        self.restore(before)?;
        self.feed_sample(step, program)?;
        self.engine.submit(program, &[row], number, samples)?;
        self.engine.drain()?;
        let reported = self.engine.take_done().last().map(|done| done.values);
        found.one_submit &= same_bits(&self.read_kept()?, &after)
            && reported.is_some_and(|values| values == readbacks(&plan, &ring));
        self.restore(before)?;
        found.kernels.extend(kernels);
        found.scores.extend(of_results);
        found.gradients.extend(of_gradients);
        found.updates.extend(of_updates.into_iter().chain(others));
        found.rules.add(rules);
        Ok(())
    }

    /// What a step does not train must have the bits that it had.
    fn check_others(
        &self,
        step: usize,
        before: &[Array],
        after: &[Array],
    ) -> Result<Vec<Check>, Error> {
        let Some(defined) = self.defined.get(step) else {
            return Ok(Vec::new());
        };
        let (trained, name) = (&defined.place.trained, &defined.definition.name);
        let stays = |kept: &Kept| match &kept.holds {
            Holds::Param(i) => !trained.contains(i),
            Holds::Optimizer { step: of, .. } => *of != step,
            Holds::State(_) => false,
        };
        let mut checks = Vec::new();
        for (kept, (before, after)) in self.kept.iter().zip(before.iter().zip(after)) {
            if stays(kept) {
                let reference = Reference::bits(before);
                let name = format!("{} beside `{name}`", kept.name);
                checks.push(reference.judge(name, &numbers(after), true, || Ok(Vec::new()))?);
            }
        }
        Ok(checks)
    }

    /// Puts the sample of a step where its plan takes the batch from.
    pub(crate) fn feed_sample(&mut self, step: usize, program: Handle) -> Result<(), Error> {
        let Some(defined) = self.defined.get(step) else {
            return Ok(());
        };
        let fields = defined.definition.fields.clone();
        let words = spec::words(&fields, &defined.definition.sample);
        if !self.is_resident(step) {
            let words = words
                .iter()
                .map(|(name, words)| (name.as_str(), &words[..]));
            return self.engine.feed(program, words, self.spec.batch);
        }
        // Samples and order both backwards, so that a kernel that forgets the order is found out.
        for (i, field) in fields.iter().enumerate() {
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

    /// For each parameter that a step trains its value and its optimizer states.
    fn by_param(&self, step: usize, arrays: &[Array]) -> Vec<Vec<Array>> {
        let trained = self.defined.get(step).map_or(&[][..], |d| &d.place.trained);
        let of = |i: usize| {
            let is_of = move |kept: &Kept| match &kept.holds {
                Holds::Param(param) => *param == i,
                Holds::Optimizer {
                    step: of, param, ..
                } => *of == step && *param == i,
                Holds::State(_) => false,
            };
            let kept = self.kept.iter().zip(arrays);
            kept.filter(move |(kept, _)| is_of(kept))
                .map(|(_, array)| array.clone())
        };
        trained.iter().map(|&i| of(i).collect()).collect()
    }

    /// The nodes of a graph traced for a step, with its sample and what is kept.
    fn case(&self, graph: &Graph, step: &Definition, before: &[Array], row: StepRow) -> Case {
        let params = self.layout.leaves.params.len();
        let states = before.len() - self.layout.leaves.states.len();
        let sample = &step.sample;
        let inputs = step
            .fields
            .iter()
            .filter_map(|f| sample.get(&f.name).cloned());
        Case {
            what: format!("the graph of `{}`", step.name),
            nodes: graph.nodes(),
            inputs: inputs.collect(),
            params: before.iter().take(params).cloned().collect(),
            states: before.iter().skip(states).cloned().collect(),
            row,
        }
    }

    /// What a step gave: reports, and outputs from memory.
    fn results(
        &mut self,
        program: Handle,
        reports: Vec<f64>,
    ) -> Result<Vec<(String, Vec<f64>)>, Error> {
        let plan = self.engine.plan(program)?;
        let names = plan.readbacks.iter().map(|r| r.name.clone());
        let mut results: Vec<_> = names.zip(reports.into_iter().map(|v| vec![v])).collect();
        for name in self.engine.outputs(program) {
            let array = self.engine.output(program, &name)?;
            results.push((name, numbers(&array)));
        }
        Ok(results)
    }
}

fn same_bits(a: &[Array], b: &[Array]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_words() == b.to_words())
}
