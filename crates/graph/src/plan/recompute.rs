//! How much of the forward pass the backward pass computes again, so that a step fits its memory.
//!
//! What lies within checkpoints is. To stay below a limit, so is what the minimum cut
//! (`passes/cut.rs`) gives for a growing number of products that may be computed again: first none,
//! then those that give most bytes for an operation. The first plan that fits is taken: what a plan
//! takes is seen when it is made.

use std::collections::BTreeMap;

use super::{Plan, PlanError, Request};
use crate::passes::Ir;
use crate::passes::cut::{self, Cost};
use crate::passes::recompute::{checkpointed, forward, run};
use crate::{Node, NodeId, Part};

/// Numbers of products that are tried before the place where it begins to fit is searched.
const STAGES: usize = 8;

/// The plan that `finish` makes of the nodes, with what is computed again.
pub(super) fn lower(
    ir: Ir,
    finish: impl Fn(&Ir) -> Result<Plan, PlanError>,
    request: &Request<'_, '_>,
) -> Result<Plan, PlanError> {
    let forward = forward(&ir);
    let within = checkpointed(&ir, &forward);
    let plain = finish(&ir)?;
    let again = |chosen: &[bool]| -> Result<Plan, PlanError> {
        let ir = run(&ir, &forward, chosen);
        if ir.nodes.iter().all(|n| n.part != Part::Again) {
            return Ok(plain.clone());
        }
        let mut plan = finish(&ir)?;
        plan.recomputed = Some(plan.bill.flops.saturating_sub(plain.bill.flops));
        Ok(plan)
    };
    let first = again(&within)?;
    let limit = request.memory_limit.unwrap_or(u64::MAX);
    if first.bill.memory() <= limit {
        return Ok(first);
    }
    let (products, mut kept) = costs(&ir, &forward, &within);
    let mut least = first;
    let mut made = |count: usize| -> Result<Option<Plan>, PlanError> {
        for (i, id) in products.iter().enumerate() {
            kept[id.index()] = i >= count;
        }
        let plan = again(&cut::cheapest(&ir, &forward, &kept, &within))?;
        if plan.bill.memory() <= limit {
            return Ok(Some(plan));
        }
        if plan.bill.memory() < least.bill.memory() {
            least = plan;
        }
        Ok(None)
    };
    let mut below = 0;
    for stage in 0..=STAGES {
        let count = products.len() * stage / STAGES;
        if stage > 0 && count == below {
            continue;
        }
        if let Some(mut plan) = made(count)? {
            // The fewest products with which it fits.
            let mut above = count;
            while below + 1 < above {
                let middle = below.midpoint(above);
                match made(middle)? {
                    Some(better) => (above, plan) = (middle, better),
                    None => below = middle,
                }
            }
            return Ok(plan);
        }
        below = count;
    }
    let bill = &least.bill;
    Err(PlanError::Memory {
        name: request.name.to_owned(),
        limit,
        least: bill.memory(),
        slabs: bill.slabs,
        other: bill.other,
        transient: bill.transient,
    })
}

/// The products of the forward pass, those first that give most bytes for an operation, and last what
/// checkpointed segments give; and which nodes are kept unless the search takes them from the list.
///
/// Of products that cost alike every second comes first, then every second of those that are left,
/// and so on: values that are kept lie between them, so that little is alive while they are computed
/// again (Chen et al. 2016, arXiv:1604.06174).
fn costs(ir: &Ir, forward: &[bool], within: &[bool]) -> (Vec<NodeId>, Vec<bool>) {
    let mut alike: BTreeMap<u64, Vec<NodeId>> = BTreeMap::new();
    let mut kept = vec![false; ir.nodes.len()];
    let ids = (0u32..).map(NodeId).zip(forward);
    for (id, _) in ids.filter(|(_, forward)| **forward) {
        let Node { op, part, .. } = ir.node(id);
        match cut::cost(ir, id) {
            _ if within[id.index()] || op.is_source() || op.is_view() => continue,
            Cost::Never => {}
            _ if matches!(part, Part::Checkpoint(_)) => {
                alike.entry(u64::MAX).or_default().push(id);
            }
            Cost::Cheap => continue,
            Cost::Product(operations) => alike.entry(operations).or_default().push(id),
        }
        kept[id.index()] = true;
    }
    let spread = |ids: Vec<NodeId>| -> Vec<NodeId> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|i| ((i + 1).trailing_zeros(), *i));
        order.into_iter().map(|i| ids[i]).collect()
    };
    (alike.into_values().flat_map(spread).collect(), kept)
}
