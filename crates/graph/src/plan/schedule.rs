//! Order: which kernel runs when.
//!
//! Any order that computes values before they are read is right; this one frees memory early.
//! Among the kernels that could run next it takes the one after which the fewest transient bytes
//! are alive, and of equals the one whose nodes came first. What is computed again waits for all
//! that comes before it. The result depends on the plan alone.

use std::collections::BTreeMap;

use super::builder::UNPLACED;
use super::{Kernel, Plan, PlanError, ValueId};

/// Puts the kernels in order.
pub(super) fn order(plan: &mut Plan) -> Result<(), PlanError> {
    let mut writer: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut readers: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (i, kernel) in plan.kernels.iter().enumerate() {
        writer.extend(kernel.writes().map(|v| (v, i)));
        kernel
            .reads()
            .for_each(|v| *readers.entry(v).or_insert(0) += 1);
    }
    let bytes = |v: ValueId| match plan.values.get(v.index()) {
        Some(value) if value.buffer == UNPLACED => i128::from(value.bytes()),
        _ => 0,
    };
    let mut done = vec![false; plan.kernels.len()];
    let mut order = Vec::with_capacity(plan.kernels.len());
    while order.len() < plan.kernels.len() {
        let ready = |k: &Kernel| k.reads().all(|v| writer.get(&v).is_none_or(|&w| done[w]));
        let before = done.iter().take_while(|done| **done).count();
        let growth = |k: &Kernel| {
            let made: i128 = k.writes().map(bytes).sum();
            let freed: i128 = k
                .reads()
                .filter(|v| readers.get(v) == Some(&1))
                .map(bytes)
                .sum();
            made - freed
        };
        let next = plan
            .kernels
            .iter()
            .enumerate()
            .filter(|(i, k)| !done[*i] && ready(k))
            .min_by_key(|(i, k)| ((k.again && before < *i).then_some(*i), growth(k), *i))
            .map(|(i, _)| i);
        let Some(next) = next else {
            let waits = (0..).zip(&plan.kernels).find(|(i, _)| !done[*i]);
            let label = waits.map_or("", |(_, k)| k.label.as_str());
            return Err(PlanError::Request(format!(
                "kernel `{label}` waits for itself: a bug of the planner"
            )));
        };
        done[next] = true;
        if let Some(kernel) = plan.kernels.get(next) {
            for v in kernel.reads() {
                if let Some(n) = readers.get_mut(&v) {
                    *n -= 1;
                }
            }
        }
        order.push(next);
    }
    let mut kernels: Vec<Option<Kernel>> = std::mem::take(&mut plan.kernels)
        .into_iter()
        .map(Some)
        .collect();
    plan.kernels = order
        .iter()
        .filter_map(|&i| kernels.get_mut(i)?.take())
        .collect();
    Ok(())
}
