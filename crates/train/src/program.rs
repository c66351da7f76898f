//! A compiled plan: what it takes, and what its reports mean.

use std::ops::Range;
use std::sync::Arc;

use gradus_graph::backend::{BackendError, ProgramId, Report};
use gradus_graph::plan::{Input, Plan, Role, Value, ValueId};

use crate::Error;
use crate::supervised::{EVALUATE, TRAIN};

/// A compiled plan.
pub(crate) struct Program {
    pub(crate) id: ProgramId,
    pub(crate) plan: Arc<Plan>,
    /// Names of what it reports.
    pub(crate) names: Arc<[String]>,
    /// Whether it changes parameters: the first report is then a loss.
    pub(crate) trains: bool,
    /// Whether it reports the loss and the metrics of `compile`.
    pub(crate) supervised: bool,
    /// The content of the next upload, reused.
    pub(crate) upload: Vec<u32>,
    /// Where each input lies in it.
    pub(crate) inputs: Vec<(String, Range<usize>)>,
}

impl Program {
    pub(crate) fn new(id: ProgramId, plan: Arc<Plan>) -> Self {
        let upload = plan.buffers.iter().find(|b| b.role == Role::Upload);
        let words = upload.map_or(0, |b| usize::try_from(b.bytes / 4).unwrap_or(0));
        let uploaded = plan.inputs.iter().filter(|i| i.resident.is_none());
        let inputs = uploaded.map(|i| (i.info.name.clone(), words_of(&plan, i.value)));
        Self {
            id,
            upload: vec![0; words],
            inputs: inputs.collect(),
            supervised: [TRAIN, EVALUATE].contains(&plan.name.as_str()),
            names: plan.readbacks.iter().map(|r| r.name.clone()).collect(),
            trains: plan.trains(),
            plan,
        }
    }
}

/// The words of a value in its buffer, or in a ring row.
fn words_of(plan: &Plan, value: ValueId) -> Range<usize> {
    plan.values.get(value.index()).map_or(0..0, |value| {
        let first = usize::try_from(value.offset / 4).unwrap_or(usize::MAX);
        first..first.saturating_add(value.meta.shape.numel())
    })
}

/// The numbers that a step reported in its ring row.
pub(crate) fn readbacks(plan: &Plan, row: &[f32]) -> Vec<f64> {
    let sum = |value: ValueId| -> f64 {
        let elements = row.get(words_of(plan, value)).unwrap_or_default();
        elements.iter().map(|&x| f64::from(x)).sum()
    };
    let readbacks = plan.readbacks.iter();
    readbacks.map(|r| sum(r.value) * r.scale).collect()
}

/// An input that holds indices.
pub(crate) struct Indices {
    input: ValueId,
    /// What holds them: the input itself, or the resident data that it is taken from.
    holder: ValueId,
    words: Vec<u32>,
}

impl Indices {
    /// Those of an upload.
    pub(crate) fn uploaded(plan: &Plan, upload: &[u32]) -> Vec<Self> {
        let uploaded = checked(plan).filter(|i| i.resident.is_none());
        let words = |value| upload.get(words_of(plan, value)).unwrap_or_default();
        let indices = uploaded.map(|i| Self {
            input: i.value,
            holder: i.value,
            words: words(i.value).to_vec(),
        });
        indices.collect()
    }

    /// Those of resident data; `read` gives the words of a value.
    pub(crate) fn resident(
        plan: &Plan,
        mut read: impl FnMut(&Value) -> Result<Vec<u32>, BackendError>,
    ) -> Result<Vec<Self>, BackendError> {
        let resident = checked(plan).filter_map(|i| Some((i.value, i.resident?)));
        let indices = resident.map(|(input, holder)| {
            let value = plan.values.get(holder.index());
            let words = value.map_or_else(|| Ok(Vec::new()), &mut read)?;
            Ok(Self {
                input,
                holder,
                words,
            })
        });
        indices.collect()
    }
}

/// The inputs that hold indices.
fn checked(plan: &Plan) -> impl Iterator<Item = &Input> {
    let inputs = plan.inputs.iter();
    inputs.filter(|i| plan.sites.iter().any(|s| s.input == Some(i.value)))
}

/// An index that a kernel refused is an error of the step. `indices` are those it took.
pub(crate) fn check_indices(
    plan: &Plan,
    report: &Report,
    first_step: u64,
    indices: &[Indices],
) -> Result<(), Error> {
    let mut bad = plan
        .sites
        .iter()
        .zip(&report.errors)
        .filter(|(_, bits)| **bits != 0);
    let Some((site, &bits)) = bad.next() else {
        return Ok(());
    };
    let last = first_step + (report.rows.len() as u64).saturating_sub(1);
    let steps = if last == first_step {
        format!("step {first_step}")
    } else {
        format!("steps {first_step} to {last}")
    };
    Err(Error::Index {
        layer: site.layer.clone(),
        steps,
        // A negative index has its highest bit set; no index is as large as 2³¹.
        value: i64::from(bits.cast_signed()),
        bound: site.bound,
        position: site.input.and_then(|input| {
            let taken = indices.iter().find(|taken| taken.input == input)?;
            let at = taken.words.iter().position(|&word| word == bits)?;
            let holder = plan.values.get(taken.holder.index())?;
            Some((holder.name.clone(), holder.meta.shape.coordinates(at)))
        }),
    })
}

/// Copies the words, and repeats their last sample until `words` is full.
pub(crate) fn fill(words: &mut [u32], source: &[u32], samples: usize) {
    let width = source.len() / samples.max(1);
    let (Some(last), Some((head, rest))) = (
        source.get(source.len().saturating_sub(width)..),
        words.split_at_mut_checked(source.len()),
    ) else {
        return;
    };
    head.copy_from_slice(source);
    for (word, repeated) in rest.iter_mut().zip(last.iter().cycle()) {
        *word = *repeated;
    }
}
