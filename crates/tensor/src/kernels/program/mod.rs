//! Programs: fused pointwise regions and reductions.

mod axes;
mod choose;
mod passes;
mod pointwise;
mod reduce;
mod rows;

use std::fmt;

use gradus_graph::{Expr, Program, Store};

use super::expr::Emitter;
use super::memory::Memory;
use super::{Shader, ShaderError, Writer, index};

pub use axes::simplified;
pub(super) use choose::suits;
pub use choose::{choose, variants};
pub use pointwise::Pointwise;
pub use rows::{Rows, Wide};

/// How to compute a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Without reductions: one invocation for every element or four.
    Pointwise(Pointwise),
    /// With reductions: one or more invocations for every row.
    Rows(Rows),
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, wide) = match self {
            Self::Pointwise(v) if v.turns > 1 => (format!("pointwise×{}", v.turns), v.wide),
            Self::Pointwise(v) => ("pointwise".to_string(), v.wide),
            Self::Rows(v) => (format!("rows/{}", v.slices), v.wide != Wide::No),
        };
        write!(f, "{kind}{}", if wide { " vec4" } else { "" })
    }
}

/// The shader of a simplified program in this variant.
pub(super) fn shader(
    program: &Program,
    memory: Memory,
    variant: Variant,
) -> Result<Shader, ShaderError> {
    match variant {
        Variant::Pointwise(v) => pointwise::shader(program, memory, v),
        Variant::Rows(v) => rows::shader(program, memory, v),
    }
}

/// Notes how the program reads and writes memory when four neighbours along `lane` are computed at
/// once.
pub(super) fn note(program: &Program, memory: &mut Memory, lane: Option<usize>) {
    let is_quad = |i: &_| lane.is_some_and(|lane| index::is_quad(i, lane));
    for store in &program.stores {
        if is_quad(&store.index) && memory.aligned(store.operand) {
            memory.note_quads(store.operand);
        } else {
            memory.note_singles(store.operand);
        }
    }
    for expr in &program.exprs {
        if let Expr::Load { operand, index, .. } | Expr::LoadRow { operand, index, .. } = expr
            && is_quad(index)
        {
            memory.note_quads(*operand);
        }
        if let Expr::Total { operand, .. } = expr {
            memory.note_quads(*operand);
        }
    }
}

/// Writes one store of a value that is known.
pub(super) fn store(out: &mut Writer, emitter: &Emitter<'_>, s: &Store) -> Result<(), ShaderError> {
    let memory = emitter.memory;
    let constant = emitter
        .lane
        .is_none_or(|lane| index::is_constant(&s.index, lane));
    if constant {
        let value = emitter.get(s.value)?;
        out.line(memory.store(s.operand, &emitter.position(&s.index), &value.text));
        return Ok(());
    }
    let value = emitter.get(s.value)?;
    if value.wide {
        write(out, emitter, s, &value.text);
        return Ok(());
    }
    // Named, so that its components can be taken.
    let wide = emitter.widened(s.value)?;
    out.block("", |out| {
        out.line(format_args!("let value = {wide};"));
        write(out, emitter, s, "value");
    });
    Ok(())
}

/// Writes the store of four values along the lane axis.
fn write(out: &mut Writer, emitter: &Emitter<'_>, s: &Store, value: &str) {
    let memory = emitter.memory;
    if emitter.is_quad(&s.index) {
        for line in memory.store4(s.operand, &emitter.quad(&s.index), value) {
            out.line(line);
        }
        return;
    }
    for (i, part) in ["x", "y", "z", "w"].iter().enumerate() {
        let at = emitter.position_at(&s.index, i);
        out.line(memory.store(s.operand, &at, &format!("{value}.{part}")));
    }
}
