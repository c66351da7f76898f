//! The rules a plan keeps, simulated kernel by kernel.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{Kernel, KernelKind, Plan, Role, Value, ValueId};
use crate::Program;

/// A rule that a plan breaks: a bug of the planner.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("plan line {line} ({label}): {rule}")]
pub struct CheckError {
    /// The kernel's position.
    pub line: usize,
    /// The kernel.
    pub label: String,
    /// What is wrong.
    pub rule: String,
}

impl Plan {
    /// Simulates the plan and checks that
    ///
    /// - a transient value is written before it is read, and nothing is written over it between;
    /// - a transient value is written by one kernel;
    /// - a buffer that a kernel writes is bound once by it;
    /// - every operand lies inside its binding, every binding inside its buffer and the target's
    ///   limits, at an aligned offset;
    /// - programs only name operands that exist, and load what is read and store what is written;
    /// - what is written is stored, and all outputs and read-backs are written;
    /// - values of one parameter's slab do not overlap.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn check(&self) -> Result<(), CheckError> {
        // What each slot or other shared place holds: the value last written there.
        let mut holds: BTreeMap<(u32, u64), ValueId> = BTreeMap::new();
        let mut written: BTreeSet<ValueId> = BTreeSet::new();
        for (line, kernel) in self.kernels.iter().enumerate() {
            let broken = |rule: String| CheckError {
                line,
                label: kernel.label.clone(),
                rule,
            };
            for v in kernel.reads() {
                let value = self
                    .value(v)
                    .ok_or_else(|| broken(format!("reads no value {v:?}")))?;
                let transient = matches!(self.role(value), Some(Role::Slot(_)));
                if transient && holds.get(&(value.buffer.0, value.offset)) != Some(&v) {
                    return Err(broken(format!(
                        "`{}` is not there when it is read",
                        value.name
                    )));
                }
            }
            for v in kernel.writes() {
                let value = self
                    .value(v)
                    .ok_or_else(|| broken(format!("writes no value {v:?}")))?;
                let transient = matches!(self.role(value), Some(Role::Slot(_)));
                if !written.insert(v) && transient {
                    return Err(broken(format!("`{}` is written twice", value.name)));
                }
                let end = |v: &Value| v.offset + v.bytes();
                holds.retain(|(buffer, offset), held| {
                    let apart = self
                        .value(*held)
                        .is_none_or(|held| end(held) <= value.offset);
                    *buffer != value.buffer.0 || apart || end(value) <= *offset
                });
                holds.insert((value.buffer.0, value.offset), v);
            }
            self.check_bindings(line).map_err(broken)?;
            self.check_operands(line).map_err(broken)?;
        }
        let reported = self.readbacks.iter().map(|r| r.value);
        let mut wanted = reported.chain(self.outputs.iter().map(|(_, value)| *value));
        let missing = wanted.find_map(|v| {
            let value = self.value(v)?;
            let is_empty = value.meta.shape.numel() == 0;
            (!written.contains(&v) && !is_empty).then_some(value)
        });
        missing.map_or(Ok(()), |value| {
            Err(CheckError {
                line: self.kernels.len(),
                label: "end".into(),
                rule: format!("`{}` is never written", value.name),
            })
        })
    }

    fn value(&self, v: ValueId) -> Option<&Value> {
        self.values.get(v.index())
    }

    fn role(&self, value: &Value) -> Option<&Role> {
        self.buffers.get(value.buffer.index()).map(|b| &b.role)
    }

    fn check_bindings(&self, line: usize) -> Result<(), String> {
        let Some(kernel) = self.kernels.get(line) else {
            return Ok(());
        };
        let target = &self.target;
        if kernel.bindings.len() > target.max_bindings {
            return Err(format!("{} bindings", kernel.bindings.len()));
        }
        for (i, binding) in kernel.bindings.iter().enumerate() {
            let Some(buffer) = self.buffers.get(binding.buffer.index()) else {
                return Err(format!("binding {i} names no buffer"));
            };
            if binding.offset % target.offset_alignment != 0 && binding.offset != 0 {
                return Err(format!("binding {i} starts at {}", binding.offset));
            }
            if binding.offset + binding.bytes > buffer.bytes {
                return Err(format!("binding {i} leaves {}", buffer.role));
            }
            let others = kernel
                .bindings
                .iter()
                .enumerate()
                .filter(|(j, b)| *j != i && b.buffer == binding.buffer);
            if binding.writes && others.count() > 0 {
                return Err(format!("{} is written and bound twice", buffer.role));
            }
        }
        for operand in &kernel.operands {
            let Some(value) = operand.reads.or(operand.writes).and_then(|v| self.value(v)) else {
                return Err("an operand names no value".into());
            };
            let Some(binding) = kernel.bindings.get(operand.binding) else {
                return Err(format!("`{}` has no binding", value.name));
            };
            let start = binding.offset + operand.base as u64 * 4;
            let inside = start == value.offset
                && binding.buffer == value.buffer
                && start + value.bytes() <= binding.offset + binding.bytes;
            if !inside || (operand.writes.is_some() && !binding.writes) {
                return Err(format!("`{}` lies outside its binding", value.name));
            }
        }
        Ok(())
    }

    fn check_operands(&self, line: usize) -> Result<(), String> {
        let Some(kernel) = self.kernels.get(line) else {
            return Ok(());
        };
        if let KernelKind::Program(program) = &kernel.kind {
            let stored = |i: usize| program.stores.iter().any(|s| s.operand == i);
            let mut operands = kernel.operands.iter().enumerate();
            if operands.any(|(i, o)| o.writes.is_some() && !stored(i)) {
                return Err("an operand that is written is not stored to".into());
            }
        }
        kernel
            .kind
            .programs()
            .try_for_each(|program| self.check_program(kernel, program))
    }

    fn check_program(&self, kernel: &Kernel, program: &Program) -> Result<(), String> {
        for (i, expr) in program.exprs.iter().enumerate() {
            if expr.uses().iter().any(|u| u.index() >= i) {
                return Err(format!("expression {i} uses a later one"));
            }
            let crate::Expr::Load {
                operand,
                index,
                guard,
            } = expr
            else {
                continue;
            };
            let read = kernel.operands.get(*operand).and_then(|o| o.reads);
            let Some(value) = read.and_then(|v| self.value(v)) else {
                return Err(format!("expression {i} loads an operand that is not read"));
            };
            let (low, high) = index.range(&program.axes);
            let numel = i64::try_from(value.meta.shape.numel()).unwrap_or(i64::MAX);
            let empty = program.axes.contains(&0);
            if guard.is_none() && !empty && (low < 0 || high >= numel) {
                return Err(format!(
                    "expression {i} loads {low}..={high} of {numel} elements"
                ));
            }
        }
        for store in &program.stores {
            let written = kernel.operands.get(store.operand).and_then(|o| o.writes);
            let Some(value) = written.and_then(|v| self.value(v)) else {
                return Err("stores to an operand that is not written".into());
            };
            let (low, high) = store.index.range(&program.axes);
            let numel = i64::try_from(value.meta.shape.numel()).unwrap_or(i64::MAX);
            if !program.axes.contains(&0) && (low != 0 || high + 1 != numel) {
                return Err(format!("stores {low}..={high} of {numel} elements"));
            }
        }
        Ok(())
    }
}
