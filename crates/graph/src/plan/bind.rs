//! Bindings: which ranges of which buffers a kernel binds.
//!
//! A buffer that a kernel writes is bound once, with everything the kernel uses of it; operands
//! are told apart by their base. Operands that read and write the same memory become one. Where a
//! kernel would need more bindings than there are, small tensors in one buffer that it reads share
//! one, too.

use super::build::PlanError;
use super::home::is_small;
use super::{Binding, Factor, Kernel, KernelKind, Plan, Role, Value};
use crate::{Expr, Program};

/// Fills in the bindings of all kernels.
///
/// # Errors
/// If a kernel needs more or larger bindings than the target has.
pub(super) fn bind(plan: &mut Plan) -> Result<(), PlanError> {
    let mut kernels = std::mem::take(&mut plan.kernels);
    for kernel in &mut kernels {
        merge_in_place(kernel, &plan.values);
        bindings(kernel, plan, false)?;
        if kernel.bindings.len() > plan.target.max_bindings {
            kernel.bindings.clear();
            bindings(kernel, plan, true)?;
        }
        check_count(kernel, plan)?;
    }
    plan.kernels = kernels;
    Ok(())
}

/// Joins a written operand with the read one at the same place.
fn merge_in_place(kernel: &mut Kernel, values: &[Value]) {
    let place = |v: Option<super::ValueId>| {
        let value = values.get(v?.index())?;
        Some((value.buffer, value.offset, value.bytes()))
    };
    let mut write = 0;
    while write < kernel.operands.len() {
        let operand = &kernel.operands[write];
        let here = if operand.reads.is_none() {
            place(operand.writes)
        } else {
            None
        };
        let read = here.and_then(|here| {
            kernel
                .operands
                .iter()
                .position(|o| o.writes.is_none() && place(o.reads) == Some(here))
        });
        match read {
            Some(read) => {
                kernel.operands[read].writes = kernel.operands[write].writes;
                kernel.operands.remove(write);
                let to = |o: usize| match o {
                    o if o == write => read - usize::from(read > write),
                    o if o > write => o - 1,
                    o => o,
                };
                renumber(&mut kernel.kind, &to);
            }
            None => write += 1,
        }
    }
}

fn renumber(kind: &mut KernelKind, to: &dyn Fn(usize) -> usize) {
    let program = |p: &mut Program| {
        for expr in &mut p.exprs {
            if let Expr::Load { operand, .. }
            | Expr::LoadRow { operand, .. }
            | Expr::Total { operand, .. } = expr
            {
                *operand = to(*operand);
            }
        }
        p.stores.iter_mut().for_each(|s| s.operand = to(s.operand));
    };
    if let Some(p) = kind.program_mut() {
        program(p);
    }
    match kind {
        KernelKind::Program(_) => {}
        KernelKind::Conv(c) => {
            for factor in [&mut c.a, &mut c.b] {
                match factor {
                    Factor::Dense(operand) => *operand = to(*operand),
                    Factor::Computed(p, _) => program(p),
                }
            }
            c.row_sum = c.row_sum.map(to);
        }
        KernelKind::MatMul(m) => {
            m.a.operand = to(m.a.operand);
            m.b.operand = to(m.b.operand);
            m.row_sum = m.row_sum.map(to);
        }
        KernelKind::Attention(a) => {
            a.operands_mut().into_iter().for_each(|(_, o)| *o = to(*o));
        }
        KernelKind::Scatter(s) => {
            (s.index, s.out) = (to(s.index), to(s.out));
            (s.x, s.order) = (s.x.map(to), s.order.map(to));
        }
        KernelKind::Scan(s) => {
            (s.x, s.out) = (to(s.x), to(s.out));
            s.a = s.a.map(to);
        }
        KernelKind::Sort(s) => {
            (s.x, s.out) = (to(s.x), to(s.out));
            s.order = s.order.map(to);
        }
        KernelKind::Update(u) => {
            (u.x, u.new, u.start, u.out) = (to(u.x), to(u.new), to(u.start), to(u.out));
        }
        KernelKind::Take(t) => {
            t.order = to(t.order);
            t.arrays
                .iter_mut()
                .for_each(|a| (a.0, a.1) = (to(a.0), to(a.1)));
        }
    }
}

/// Finds the ranges; with `share`, one for all small tensors of a buffer.
fn bindings(kernel: &mut Kernel, plan: &Plan, share: bool) -> Result<(), PlanError> {
    let target = &plan.target;
    let align = target.offset_alignment.max(16);
    let value = |o: &super::Operand| {
        o.reads
            .or(o.writes)
            .and_then(|v| plan.values.get(v.index()))
    };
    for i in 0..kernel.operands.len() {
        let Some(own) = value(&kernel.operands[i]) else {
            continue;
        };
        let buffer = plan.buffers.get(own.buffer.index());
        let whole = buffer.is_some_and(|b| b.role == Role::Ring);
        let writes = kernel
            .operands
            .iter()
            .any(|o| o.writes.is_some() && value(o).is_some_and(|v| v.buffer == own.buffer));
        let small = share && is_small(&own.meta);
        let beside = |v: &&Value| match writes {
            true => v.buffer == own.buffer,
            false => *v == own || small && v.buffer == own.buffer && is_small(&v.meta),
        };
        let span = |v: &Value| (v.offset, v.offset + v.bytes().next_multiple_of(16));
        let (low, high) = if whole {
            (0, buffer.map_or(0, |b| b.bytes))
        } else {
            let spans = kernel.operands.iter().filter_map(value).filter(beside);
            spans.map(span).fold((u64::MAX, 0), |(low, high), (a, b)| {
                (low.min(a), high.max(b))
            })
        };
        let offset = low / align * align;
        let binding = Binding {
            buffer: own.buffer,
            offset,
            bytes: high - offset,
            writes,
        };
        if binding.bytes > target.max_binding_bytes {
            return Err(PlanError::TooLarge {
                name: own.name.clone(),
                bytes: binding.bytes,
                target: target.name.clone(),
                limit: target.max_binding_bytes,
            });
        }
        let known = kernel.bindings.iter().position(|b| *b == binding);
        let index = known.unwrap_or_else(|| {
            kernel.bindings.push(binding);
            kernel.bindings.len() - 1
        });
        let base = usize::try_from((own.offset - offset) / 4).unwrap_or(usize::MAX);
        kernel.operands[i].binding = index;
        kernel.operands[i].base = base;
    }
    bind_errors(kernel, plan);
    Ok(())
}

fn check_count(kernel: &Kernel, plan: &Plan) -> Result<(), PlanError> {
    let target = &plan.target;
    if kernel.bindings.len() > target.max_bindings {
        return Err(PlanError::Bindings {
            label: kernel.label.clone(),
            found: kernel.bindings.len(),
            target: target.name.clone(),
            limit: target.max_bindings,
        });
    }
    Ok(())
}

fn bind_errors(kernel: &mut Kernel, plan: &Plan) {
    let mut exprs = kernel.kind.programs().flat_map(|p| &p.exprs);
    if !exprs.any(|e| matches!(e, Expr::CheckIndex { .. })) {
        return;
    }
    let errors = plan.buffers.iter().position(|b| b.role == Role::Errors);
    let Some(index) = errors else { return };
    let bytes = plan.buffers.get(index).map_or(0, |b| b.bytes);
    let buffer = super::BufferId(u32::try_from(index).unwrap_or(u32::MAX));
    kernel.errors = Some(kernel.bindings.len());
    kernel.bindings.push(Binding {
        buffer,
        offset: 0,
        bytes,
        writes: true,
    });
}
