//! Pointwise programs: every invocation computes one element, or four neighbours.

use gradus_graph::Program;

use super::super::expr::Emitter;
use super::super::memory::Memory;
use super::super::module::Entry;
use super::super::{Shader, ShaderError, Writer, small};
use super::{axes, note, store};

/// How the elements are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pointwise {
    /// Whether an invocation computes four neighbours along the last axis at once.
    pub wide: bool,
}

/// Invocations of a workgroup.
const INVOCATIONS: u32 = 256;

pub(super) fn shader(
    program: &Program,
    mut memory: Memory,
    v: Pointwise,
) -> Result<Shader, ShaderError> {
    let lane = v.wide.then(|| program.axes.len().saturating_sub(1));
    note(program, &mut memory, lane);
    let count = small(program.axes.iter().product())? / if v.wide { 4 } else { 1 };
    let mut out = Writer::new();
    out.line(format_args!(
        "let position = index * {}u + lane;",
        INVOCATIONS
    ));
    if !count.is_multiple_of(INVOCATIONS) {
        out.line(format_args!("if position >= {count}u {{ return; }}"));
    }
    let names = axes::unravel(&mut out, "i", "position", &program.axes, v.wide)?;
    let mut emitter = Emitter::new(program, &memory, names, lane);
    emitter.emit(&mut out, program.stores.iter().map(|s| s.value))?;
    for s in &program.stores {
        store(&mut out, &emitter, s)?;
    }
    Entry {
        name: "pointwise",
        invocations: [INVOCATIONS, 1],
        groups: count.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: String::new(),
        body: out.finish(),
    }
    .shader(&memory, Some(program))
}
