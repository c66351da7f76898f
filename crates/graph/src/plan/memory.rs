//! Memory plan: which transient values share a buffer.
//!
//! Every transient value lives from the kernel that writes it to the last one that reads it. Two
//! values may share a slot when their lifetimes do not overlap. A result may take the place of
//! an input that dies in the same kernel, if every element is read only to compute the element
//! in its place.
//!
//! A slot is a buffer. Values that live at the same time share one only where that saves a slot,
//! and then no product touches both: a dispatch may not read and write one buffer through two
//! bindings, and products are faster where what they read is not also written. But the small values
//! of a kernel are together in one slot if it has not bindings enough for all.
//!
//! The method is greedy by decreasing size; the result depends on the order of kernels alone.
//!
//! Source: Pisarchyk & Lee (2020), arXiv:2001.03288, "greedy by size".

use std::collections::{BTreeMap, BTreeSet};

use super::builder::UNPLACED;
use super::home::is_small;
use super::{Buffer, BufferId, Factor, Kernel, KernelKind, Plan, Role, ValueId};
use crate::{Expr, Program};

/// Bytes that values in a slot begin at multiples of: what every binding may begin at.
const ALIGN: u64 = 256;

/// Lower bounds that the placement is compared with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// The most bytes alive at once.
    pub(super) alive: u64,
    /// All bytes if nothing shared memory.
    pub(super) unshared: u64,
}

/// Memory that one value or several in turn occupy.
#[derive(Debug)]
struct Allocation {
    values: Vec<ValueId>,
    bytes: u64,
    first: usize,
    last: usize,
}

/// Gives every transient value its slot.
pub(super) fn place(plan: &mut Plan) -> Bounds {
    let allocations = allocate(plan);
    let alive = |i: usize| {
        let here = allocations.iter().filter(|a| a.first <= i && i <= a.last);
        here.map(|a| a.bytes).sum::<u64>()
    };
    let bounds = Bounds {
        alive: (0..plan.kernels.len()).map(alive).max().unwrap_or(0),
        unshared: transient(plan).map(|v| padded(plan, v)).sum(),
    };
    let mut order: Vec<usize> = (0..allocations.len()).collect();
    order.sort_by_key(|&i| {
        (
            std::cmp::Reverse(allocations[i].bytes),
            allocations[i].first,
            i,
        )
    });
    let apart = Apart::new(plan, &allocations);
    let crowded = crowded(plan);
    let (together, order): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&i| {
        let mut values = allocations[i].values.iter();
        values.any(|v| crowded.contains(v))
    });
    let together = row(&together, &allocations);
    // Allocations and where they begin.
    let mut slots: Vec<Vec<(usize, u64)>> = Vec::new();
    for i in order {
        let alone = slots.iter().position(|slot| {
            let mut others = slot.iter();
            others.all(|&(j, _)| !allocations[i].meets(&allocations[j]))
        });
        let beside = || {
            let gap = |slot: &Vec<_>| gap(slot, i, &allocations, &apart);
            let mut gaps = slots.iter().enumerate();
            gaps.find_map(|(number, slot)| Some((number, gap(slot)?)))
        };
        match alone.map(|number| (number, 0)).or_else(beside) {
            Some((number, offset)) => slots[number].push((i, offset)),
            None => slots.push(vec![(i, 0)]),
        }
    }
    slots.extend((!together.is_empty()).then_some(together));
    for (number, slot) in slots.iter().enumerate() {
        let ends = slot.iter().map(|&(i, at)| at + allocations[i].bytes);
        let bytes = ends.max().unwrap_or(0);
        let buffer = BufferId(u32::try_from(plan.buffers.len()).unwrap_or(u32::MAX));
        plan.buffers.push(Buffer {
            role: Role::Slot(number),
            bytes,
        });
        for &(i, offset) in slot {
            for &v in &allocations[i].values {
                if let Some(value) = plan.values.get_mut(v.index()) {
                    (value.buffer, value.offset) = (buffer, offset);
                }
            }
        }
    }
    bounds
}

impl Allocation {
    /// Do both live at some time?
    const fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Where allocation `i` can begin in a slot beside those that live at the same time.
fn gap(slot: &[(usize, u64)], i: usize, allocations: &[Allocation], apart: &Apart) -> Option<u64> {
    let mut others = slot.iter();
    if others.any(|&(j, _)| allocations[i].meets(&allocations[j]) && apart.contains(i, j)) {
        return None;
    }
    let size = slot.first().map_or(0, |&(j, _)| allocations[j].bytes);
    let start = first_gap(slot, i, allocations);
    (start + allocations[i].bytes <= size).then_some(start)
}

/// Where allocation `i` can begin in a slot of any size.
fn first_gap(slot: &[(usize, u64)], i: usize, allocations: &[Allocation]) -> u64 {
    let end = |&(j, offset): &(usize, u64)| (offset + allocations[j].bytes).next_multiple_of(ALIGN);
    let beside = slot
        .iter()
        .filter(|(j, _)| allocations[i].meets(&allocations[*j]));
    let mut beside: Vec<_> = beside.collect();
    beside.sort_unstable_by_key(|other| other.1);
    let mut start = 0;
    for other in beside {
        if start + allocations[i].bytes > other.1 {
            start = start.max(end(other));
        }
    }
    start
}

/// A slot as large as these need, and where each begins.
fn row(members: &[usize], allocations: &[Allocation]) -> Vec<(usize, u64)> {
    let mut slot = Vec::new();
    for &i in members {
        slot.push((i, first_gap(&slot, i, allocations)));
    }
    slot
}

/// The small values of kernels that have not bindings enough for each of them.
fn crowded(plan: &Plan) -> BTreeSet<ValueId> {
    let mut crowded = BTreeSet::new();
    for kernel in &plan.kernels {
        // Error words, too, need a binding.
        if kernel.operands.len() < plan.target.max_bindings {
            continue;
        }
        let small = kernel.reads().chain(kernel.writes()).filter(|v| {
            let value = plan.values.get(v.index());
            value.is_some_and(|v| v.buffer == UNPLACED && is_small(&v.meta))
        });
        crowded.extend(small);
    }
    crowded
}

/// Pairs of allocations that must not share a slot while both live.
struct Apart(BTreeSet<(usize, usize)>);

impl Apart {
    fn new(plan: &Plan, allocations: &[Allocation]) -> Self {
        let all = allocations.iter().enumerate();
        let of = all.flat_map(|(i, a)| a.values.iter().map(move |&v| (v, i)));
        let of: BTreeMap<ValueId, usize> = of.collect();
        let mut pairs = BTreeSet::new();
        for kernel in &plan.kernels {
            if matches!(kernel.kind, KernelKind::Program(_)) {
                continue;
            }
            for w in kernel.writes().filter_map(|v| of.get(&v)) {
                let touched = kernel.reads().chain(kernel.writes());
                for t in touched.filter_map(|v| of.get(&v)).filter(|t| *t != w) {
                    pairs.insert((*w.min(t), *w.max(t)));
                }
            }
        }
        Self(pairs)
    }

    fn contains(&self, i: usize, j: usize) -> bool {
        self.0.contains(&(i.min(j), i.max(j)))
    }
}

fn transient(plan: &Plan) -> impl Iterator<Item = ValueId> + '_ {
    let unplaced = plan
        .values
        .iter()
        .enumerate()
        .filter(|(_, v)| v.buffer == UNPLACED);
    unplaced.map(|(i, _)| ValueId(u32::try_from(i).unwrap_or(u32::MAX)))
}

fn padded(plan: &Plan, v: ValueId) -> u64 {
    plan.values
        .get(v.index())
        .map_or(0, |v| v.bytes().next_multiple_of(16))
}

/// Lifetimes, with results merged into inputs that die where they are made.
fn allocate(plan: &Plan) -> Vec<Allocation> {
    let mut allocations: Vec<Allocation> = Vec::new();
    let mut of: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut last_read: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (i, kernel) in plan.kernels.iter().enumerate() {
        last_read.extend(kernel.reads().map(|v| (v, i)));
    }
    let is_transient = |v: ValueId| {
        plan.values
            .get(v.index())
            .is_some_and(|v| v.buffer == UNPLACED)
    };
    for (i, kernel) in plan.kernels.iter().enumerate() {
        let mut taken: Vec<usize> = Vec::new();
        for (w, operand) in kernel.operands.iter().enumerate() {
            let Some(v) = operand.writes.filter(|&v| is_transient(v)) else {
                continue;
            };
            let last = last_read.get(&v).copied().unwrap_or(i).max(i);
            let dying = kernel.operands.iter().enumerate().find_map(|(r, input)| {
                let u = input.reads?;
                let &a = of.get(&u)?;
                let kind =
                    |v: ValueId| plan.values.get(v.index()).map(|v| (v.meta.dtype, v.packed));
                let same = kind(u)? == kind(v)?;
                let fits = same
                    && padded(plan, u) == padded(plan, v)
                    && allocations.get(a)?.last == i
                    && !taken.contains(&a)
                    && in_place(kernel, r, w);
                fits.then_some(a)
            });
            if let Some(a) = dying {
                taken.push(a);
                of.insert(v, a);
                if let Some(allocation) = allocations.get_mut(a) {
                    allocation.values.push(v);
                    allocation.last = last;
                }
            } else {
                of.insert(v, allocations.len());
                let bytes = padded(plan, v);
                allocations.push(Allocation {
                    values: vec![v],
                    bytes,
                    first: i,
                    last,
                });
            }
        }
    }
    allocations
}

/// May the operand `write` take the place of `read`? Only if each element is read for nothing
/// but the element that replaces it, and by no later pass than the one that stores.
fn in_place(kernel: &Kernel, read: usize, write: usize) -> bool {
    match &kernel.kind {
        KernelKind::Program(program) => element_wise(program, read, write),
        KernelKind::MatMul(m) => {
            m.a.operand != read
                && m.b.operand != read
                && m.row_sum != Some(write)
                && element_wise(&m.epilogue, read, write)
        }
        KernelKind::Conv(c) => {
            let factors = [&c.a, &c.b].map(Factor::operands).concat();
            !factors.contains(&read)
                && c.row_sum != Some(write)
                && element_wise(&c.epilogue, read, write)
        }
        KernelKind::Update(u) => u.x == read && u.out == write && u.new != read,
        KernelKind::Attention(_)
        | KernelKind::Scatter(_)
        | KernelKind::Scan(_)
        | KernelKind::Sort(_)
        | KernelKind::Take(_) => false,
    }
}

fn element_wise(program: &Program, read: usize, write: usize) -> bool {
    let mut stores = program.stores.iter().filter(|s| s.operand == write);
    let (Some(store), None) = (stores.next(), stores.next()) else {
        return false;
    };
    let same_place = program.exprs.iter().all(|e| match e {
        Expr::Load { operand, index, .. } => *operand != read || *index == store.index,
        Expr::LoadRow { operand, .. } | Expr::Total { operand, .. } => *operand != read,
        _ => true,
    });
    let passes = program.passes();
    let pass_of = |id: crate::ExprId| passes.get(id.index()).copied().unwrap_or(0);
    let reductions = program
        .exprs
        .iter()
        .zip(&passes)
        .filter(|(e, _)| e.is_reduction());
    let last = reductions
        .map(|(_, p)| *p)
        .chain(program.stores.iter().map(|s| pass_of(s.value)));
    // What belongs to a row is stored after all passes over it.
    let of_row = !program.is_full_index(&store.index)
        && program.full().get(store.value.index()) != Some(&true);
    same_place && (of_row || Some(pass_of(store.value)) == last.max())
}

/// Gives a transient value the place of a state that it becomes, if nothing reads the old value
/// once the new one is made.
pub(super) fn becomes(plan: &mut Plan, value: ValueId, state: ValueId) -> bool {
    let writes = |k: &Kernel| k.operands.iter().position(|o| o.writes == Some(value));
    let Some((made, write)) = (0..)
        .zip(&plan.kernels)
        .find_map(|(i, k)| Some((i, writes(k)?)))
    else {
        return false;
    };
    let reads = |k: &Kernel| k.operands.iter().position(|o| o.reads == Some(state));
    let (before, after) = plan.kernels.split_at(made + 1);
    let read_later = after.iter().any(|k| reads(k).is_some());
    let in_place = before
        .last()
        .is_some_and(|k| reads(k).is_none_or(|read| in_place(k, read, write)));
    let place = plan.values.get(state.index()).map(|v| (v.buffer, v.offset));
    match (plan.values.get_mut(value.index()), place) {
        (Some(new), Some(place))
            if new.buffer == UNPLACED && !new.packed && in_place && !read_later =>
        {
            (new.buffer, new.offset) = place;
            true
        }
        _ => false,
    }
}
