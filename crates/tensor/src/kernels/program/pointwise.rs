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
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Elements, or fours, that an invocation computes one after the other.
    pub repeat: u32,
}

pub(super) fn shader(
    program: &Program,
    mut memory: Memory,
    v: Pointwise,
) -> Result<Shader, ShaderError> {
    let lane = v.wide.then(|| program.axes.len().saturating_sub(1));
    note(program, &mut memory, lane);
    let count = small(program.axes.iter().product())? / if v.wide { 4 } else { 1 };
    let per_group = v.invocations * v.repeat;
    let groups = count.div_ceil(per_group);
    let mut out = Writer::new();
    let first = format!("index * {per_group}u + lane");
    let body = |out: &mut Writer| one(out, program, &memory, v, lane, count);
    if v.repeat == 1 {
        out.line(format_args!("let position = {first};"));
        body(&mut out)?;
    } else {
        // A round touches neighbours; the rounds of one invocation are far apart.
        let head = format!("for (var round = 0u; round < {}u; round++)", v.repeat);
        out.block(head, |out| {
            out.line(format_args!(
                "let position = {first} + round * {}u;",
                v.invocations
            ));
            body(out)
        })?;
    }
    Entry {
        name: "pointwise",
        invocations: v.invocations,
        groups,
        workgroup_memory: 0,
        functions: String::new(),
        body: out.finish(),
    }
    .shader(&memory, Some(program))
}

/// The element, or four, at `position`.
fn one(
    out: &mut Writer,
    program: &Program,
    memory: &Memory,
    v: Pointwise,
    lane: Option<usize>,
    count: u32,
) -> Result<(), ShaderError> {
    let body = |out: &mut Writer| {
        let names = axes::unravel(out, "i", "position", &program.axes, v.wide)?;
        let mut emitter = Emitter::new(program, memory, names, lane);
        emitter.emit(out, program.stores.iter().map(|s| s.value))?;
        for s in &program.stores {
            store(out, &emitter, s)?;
        }
        Ok(())
    };
    if count.is_multiple_of(v.invocations * v.repeat) {
        return body(out);
    }
    out.block(format_args!("if position < {count}u"), body)
}
