//! Registers and accumulators.

use super::fold::Accumulator;
use super::step::Source;
use crate::exec::simd::Arg;
use crate::exec::words::Words;

/// Registers and accumulators of one thread, for any program.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) registers: Vec<Words>,
    pub(super) views: Vec<View>,
    pub(super) accumulators: Vec<Accumulator>,
}

/// Where the value of a register really is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum View {
    /// In the register.
    #[default]
    Own,
    /// In an operand, from this element on.
    Memory(usize, i64),
    /// The same for every element.
    Splat(u32),
}

impl Scratch {
    /// Makes room for a program.
    pub(super) fn prepare(&mut self, registers: usize, block: usize, folds: usize) {
        if self.registers.len() < registers {
            self.registers.resize_with(registers, Words::default);
            self.views.resize(registers, View::Own);
        }
        self.registers
            .iter_mut()
            .take(registers)
            .for_each(|r| r.grow(block));
        if self.accumulators.len() < folds {
            self.accumulators.resize_with(folds, Accumulator::default);
        }
    }

    /// The values of a source, or where they are in memory.
    pub(super) fn value(&self, source: Source, len: usize) -> Result<Arg<'_>, (usize, i64)> {
        let (Source::Block(register) | Source::First(register)) = source else {
            let Source::Const(value) = source else {
                return Ok(Arg::Splat(0));
            };
            return Ok(Arg::Splat(value));
        };
        let own = self.registers.get(register);
        match self.views.get(register).copied().unwrap_or_default() {
            View::Splat(value) => Ok(Arg::Splat(value)),
            View::Memory(operand, at) => Err((operand, at)),
            View::Own => Ok(match source {
                Source::Block(_) => Arg::Slice(own.and_then(|r| r.get(..len)).unwrap_or_default()),
                _ => Arg::Splat(own.and_then(|r| r.first()).copied().unwrap_or(0)),
            }),
        }
    }
}
