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
    /// How many of them an invocation computes, one after the other: what is the same for all,
    /// such as the sum of a norm's parts, is computed once.
    pub turns: u32,
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
    let mut turn = Writer::new();
    let groups = count.div_ceil(INVOCATIONS * v.turns);
    if count != groups * INVOCATIONS * v.turns {
        turn.line(format_args!("if position >= {count}u {{ return; }}"));
    }
    let names = axes::unravel(&mut turn, "i", "position", &program.axes, v.wide)?;
    let mut emitter = Emitter::new(program, &memory, names, lane);
    emitter.emit(&mut turn, program.stores.iter().map(|s| s.value))?;
    for s in &program.stores {
        store(&mut turn, &emitter, s)?;
    }
    let mut body = Writer::new();
    if v.turns == 1 {
        body.line(format_args!(
            "let position = index * {INVOCATIONS}u + lane;"
        ));
        body.text(&turn.finish());
    } else {
        body.block(
            format_args!("for (var turn = 0u; turn < {}u; turn++)", v.turns),
            |out| {
                let group = format!("(index * {}u + turn)", v.turns);
                out.line(format_args!(
                    "let position = {group} * {INVOCATIONS}u + lane;"
                ));
                out.text(&turn.finish());
            },
        );
    }
    Entry {
        name: "pointwise",
        invocations: [INVOCATIONS, 1],
        groups,
        workgroup_memory: 0,
        functions: String::new(),
        body: body.finish(),
    }
    .shader(&memory, Some(program))
}
