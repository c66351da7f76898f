//! Every kernel of a step against its meaning, on the inputs it really had.

use gradus_graph::backend::{BackendError, StepRow};
use gradus_graph::plan::{Kernel, KernelKind, Plan, TakeKernel, ValueId};
use gradus_graph::{Array, step_row};

use super::bound::{Check, Reference, numbers};
use super::case::Case;
use crate::Error;
use crate::engine::Parts;
use crate::program::{Indices, check_indices};

/// Runs one step kernel by kernel. Gives what was found about each kernel, and what the step
/// reported.
pub(super) fn check(
    parts: Parts<'_>,
    row: &StepRow,
    first_step: u64,
    strict: bool,
) -> Result<(Vec<Check>, Vec<f32>), Error> {
    let plan = parts.plan;
    let mut checks = Vec::with_capacity(plan.kernels.len());
    let mut failed = None;
    let mut observer = |line: usize, before: &[Words], after: &[Words]| {
        let Some(kernel) = plan.kernels.get(line) else {
            return Ok(());
        };
        let run = Run {
            plan,
            kernel,
            line,
            before,
            after,
            row,
            strict,
        };
        match run.check() {
            Ok(found) => checks.extend(found),
            Err(error) => {
                failed = Some(error);
                return Err(BackendError::Access("the reference stopped".into()));
            }
        }
        Ok(())
    };
    let outcome = parts
        .runtime
        .step_through(parts.id, row, parts.upload, &mut observer);
    if let Some(error) = failed {
        return Err(error);
    }
    let report = outcome?;
    check_indices(
        plan,
        &report,
        first_step,
        &Indices::uploaded(plan, parts.upload),
    )?;
    Ok((checks, report.rows.into_iter().next().unwrap_or_default()))
}

type Words = Option<Vec<u32>>;

/// A kernel that ran.
struct Run<'a> {
    plan: &'a Plan,
    kernel: &'a Kernel,
    line: usize,
    before: &'a [Words],
    after: &'a [Words],
    row: &'a StepRow,
    strict: bool,
}

impl Run<'_> {
    fn check(&self) -> Result<Vec<Check>, Error> {
        if let KernelKind::Take(take) = &self.kernel.kind {
            return self.check_take(take);
        }
        let case = self.case()?;
        let wanted: Vec<_> = self.kernel.meaning.outputs.iter().map(|o| o.1).collect();
        let exact = case.eval::<f64>(&wanted)?;
        let rounded = case.eval::<f32>(&wanted)?;
        let terms = case.terms();
        let mut checks = Vec::with_capacity(wanted.len());
        let results = self
            .kernel
            .meaning
            .outputs
            .iter()
            .zip(exact.into_iter().zip(rounded));
        for (&(value, node), (exact, rounded)) in results {
            let found = self.written(value)?;
            let mut reference = Reference {
                exact,
                rounded,
                terms,
            };
            let name = self.name(value);
            checks.push(case.judge(&mut reference, &name, &found, self.strict, node)?);
        }
        Ok(checks)
    }

    /// The meaning, with the values its leaves had.
    fn case(&self) -> Result<Case, Error> {
        let meaning = &self.kernel.meaning;
        let mut inputs = Vec::with_capacity(meaning.inputs.len());
        for (number, value) in (0u32..).zip(&meaning.inputs) {
            let reads = self
                .kernel
                .operands
                .iter()
                .position(|o| o.reads == Some(*value));
            let words = reads.and_then(|i| self.before.get(i)?.as_deref());
            let words = words.ok_or_else(|| self.incomplete(*value))?;
            // The leaf may be another view of the value.
            let is_leaf = |op: &gradus_graph::ops::Op| matches!(op, gradus_graph::ops::Op::Input(i) if *i == number);
            let leaf = meaning.nodes.iter().find(|n| is_leaf(&n.op));
            let leaf = leaf.ok_or_else(|| self.incomplete(*value))?;
            inputs.push(Array::from_words(leaf.meta.shape, leaf.meta.dtype, words)?);
        }
        Ok(Case {
            what: format!("kernel {} `{}`", self.line, self.kernel.label),
            nodes: meaning.nodes.clone(),
            inputs,
            params: Vec::new(),
            states: Vec::new(),
            row: *self.row,
        })
    }

    fn written(&self, value: ValueId) -> Result<Vec<f64>, Error> {
        let writes = self
            .kernel
            .operands
            .iter()
            .position(|o| o.writes == Some(value));
        let words = writes.and_then(|i| self.after.get(i)?.as_deref());
        let meta = self.plan.values.get(value.index()).map(|v| v.meta);
        let (Some(words), Some(meta)) = (words, meta) else {
            return Err(self.incomplete(value));
        };
        Ok(numbers(&Array::from_words(meta.shape, meta.dtype, words)?))
    }

    /// The batch must be the samples that the order names, bit by bit.
    fn check_take(&self, take: &TakeKernel) -> Result<Vec<Check>, Error> {
        let operand = |of: &[Words], i: usize| of.get(i).cloned().flatten().unwrap_or_default();
        let order = operand(self.before, take.order);
        let first = self.row[step_row::BATCH as usize] as usize;
        let taken = order.get(first..first + take.count).unwrap_or_default();
        let mut checks = Vec::new();
        for &(from, to, width) in &take.arrays {
            let source = operand(self.before, from);
            let sample = |i: &u32| {
                let start = *i as usize * width;
                source.get(start..start + width).unwrap_or_default()
            };
            let expected: Vec<f64> = taken
                .iter()
                .flat_map(sample)
                .map(|&w| f64::from(w))
                .collect();
            let found: Vec<f64> = operand(self.after, to).into_iter().map(f64::from).collect();
            let value = self.kernel.operands.get(to).and_then(|o| o.writes);
            let reference = Reference {
                rounded: expected.clone(),
                exact: expected,
                terms: 0.0,
            };
            let name = value.map_or_else(|| self.kernel.label.clone(), |v| self.name(v));
            checks.push(reference.judge(name, &found, true, || Ok(Vec::new()))?);
        }
        Ok(checks)
    }

    fn name(&self, value: ValueId) -> String {
        let name = self.plan.values.get(value.index()).map_or("", |v| &v.name);
        let plan = match self.plan.name.as_str() {
            "train" => String::new(),
            other => format!("{other} "),
        };
        let (line, label) = (self.line, &self.kernel.label);
        format!("{plan}kernel {line} `{label}` → {name}")
    }

    /// A plan whose kernels do not say what they read or write is a mistake of the planner.
    fn incomplete(&self, value: ValueId) -> Error {
        let name = self.name(value);
        Error::Backend(BackendError::Access(format!("{name}: no such operand")))
    }
}
