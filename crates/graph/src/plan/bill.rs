//! The bill: what a step costs, beside what it must cost at least.

use super::memory::Bounds;
use super::{Bill, Factor, Kernel, KernelKind, Plan, Role, Value, ValueId};

/// Counts a finished plan.
pub(super) fn bill(plan: &Plan, bounds: Bounds) -> Bill {
    let of = |wanted: &dyn Fn(&Role) -> bool| {
        plan.buffers
            .iter()
            .filter(|b| wanted(&b.role))
            .map(|b| b.bytes)
            .sum::<u64>()
    };
    let is_slot = |r: &Role| matches!(r, Role::Slot(_));
    let is_slab = |r: &Role| {
        matches!(
            r,
            Role::Params(_) | Role::Grads(_) | Role::OptimizerState(..) | Role::States
        )
    };
    Bill {
        dispatches: plan.kernels.len(),
        flops: plan.kernels.iter().map(|k| k.flops).sum(),
        bytes: plan.kernels.iter().map(|k| plan.traffic(k)).sum(),
        bytes_bound: plan.kernels.iter().map(|k| bound(k, plan)).sum(),
        transient: of(&is_slot),
        transient_bound: bounds.alive,
        transient_unshared: bounds.unshared,
        slabs: of(&is_slab),
        other: of(&|r| !is_slot(r) && !is_slab(r)),
    }
}

fn bytes(plan: &Plan, v: ValueId) -> u64 {
    plan.values.get(v.index()).map_or(0, Value::bytes)
}

impl Plan {
    /// Bytes that a kernel of this plan reads and writes, each operand once.
    pub fn traffic(&self, kernel: &Kernel) -> u64 {
        let written: u64 = kernel.writes().map(|v| bytes(self, v)).sum();
        let read = match &kernel.kind {
            // Only the new rows are read and written.
            KernelKind::Update(update) if update.in_place() => {
                let new = (update.batch * update.count * update.width * 4) as u64;
                return 2 * new + update.batch as u64 * 4;
            }
            // Only the rows taken are read.
            KernelKind::Take(take) => written + take.count as u64 * 4,
            _ => kernel.reads().map(|v| bytes(self, v)).sum(),
        };
        read + written
    }
}

/// What a kernel must move whatever the fusion: products, reductions and the optimizer their
/// inputs and outputs; other pointwise work is free.
fn bound(kernel: &Kernel, plan: &Plan) -> u64 {
    let operand = |i: usize| {
        let o = kernel.operands.get(i);
        o.and_then(|o| o.reads.or(o.writes))
            .map_or(0, |v| bytes(plan, v))
    };
    match &kernel.kind {
        KernelKind::MatMul(m) => {
            let product = (m.batch * m.m * m.n * 4) as u64;
            operand(m.a.operand) + operand(m.b.operand) + product + m.row_sum.map_or(0, operand)
        }
        KernelKind::Conv(c) => {
            let result = c.conv.result(c.images).iter().product::<usize>() * 4;
            let mut factors = [&c.a, &c.b].map(Factor::operands).concat();
            factors.sort_unstable();
            factors.dedup();
            let read: u64 = factors.into_iter().map(operand).sum();
            read + result as u64 + c.row_sum.map_or(0, operand)
        }
        KernelKind::Program(p) if p.is_pointwise() && !kernel.label.starts_with("optimizer/") => 0,
        _ => plan.traffic(kernel),
    }
}
