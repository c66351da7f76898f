//! Turns a program into steps.

use gradus_graph::{Expr, Program};

use super::emit::Emitter;
use super::positions::Positions;
use super::space::Space;
use super::step::{Level, Phase, Step, Write};
use super::tile::Tiling;
use super::{fuse, registers};

/// A program as steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    /// Computed once.
    pub(super) uniform: Vec<Step>,
    /// Passes over the columns, for some rows at a time.
    pub(super) phases: Vec<Phase>,
    /// After the last of them, for each row.
    pub(super) tail: Vec<Write>,
    /// How many registers they use.
    pub(super) registers: usize,
}

/// Compiles a program over simple axes. What is not needed is left out; what is needed in several
/// passes is computed once if all columns fit one tile, and again in each pass otherwise.
pub(super) fn compile(program: &Program, space: &Space, tiling: &Tiling) -> Result<Code, String> {
    let passes = program.passes();
    let count = program.exprs.len();
    let mut emit = Emitter::new(program, space, *tiling);
    let last = (0..count)
        .filter(|&i| program.exprs.get(i).is_some_and(Expr::is_reduction))
        .filter_map(|i| passes.get(i))
        .max();
    for pass in 0..last.map_or(0, |p| p + 1) {
        for i in 0..count {
            if passes.get(i) == Some(&pass) {
                emit.fold(i)?;
            }
        }
        emit.end_phase(tiling.cols >= space.cols());
    }
    for store in &program.stores {
        let at = Positions::new(&store.index, space)?;
        let full = program.is_full_index(&store.index);
        let value = if full {
            emit.full(store.value)?
        } else {
            emit.value(store.value)?
        };
        let write = Write {
            operand: store.operand,
            at,
            value,
        };
        if full || emit.level(store.value) == Level::Full {
            emit.phase.writes.push(write);
        } else {
            emit.code.tail.push(write);
        }
    }
    emit.end_phase(true);
    let mut code = emit.code;
    fuse::fuse(&mut code);
    code.registers = registers::assign(&mut code.uniform, &mut code.phases, &mut code.tail);
    Ok(code)
}
