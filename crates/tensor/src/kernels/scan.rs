//! Running results along an axis: `y = y of the position before, with x taken in`.
//!
//! One invocation walks one line, so the order is that of the axis. Long axes come as short lines:
//! the planner cuts them into blocks whose results it joins. Lines of neighbours are read and
//! written four elements at once.

use gradus_graph::ops::Scanning;
use gradus_graph::plan::ScanKernel;

use super::memory::Memory;
use super::module::Entry;
use super::{MAX_TRIPS, Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The shader: one invocation for each line.
pub(super) fn shader(kernel: &ScanKernel, mut memory: Memory) -> Result<Shader, ShaderError> {
    if kernel.length > MAX_TRIPS {
        return Err(ShaderError::TooLarge(kernel.length));
    }
    let operands = [Some(kernel.x), Some(kernel.out), kernel.a];
    let aligned = operands.iter().flatten().all(|&o| memory.aligned(o));
    let wide = kernel.inner == 1 && kernel.length.is_multiple_of(4) && aligned;
    for operand in operands.into_iter().flatten() {
        if wide {
            memory.note_quads(operand);
        } else {
            memory.note_singles(operand);
        }
    }
    let lines = small(kernel.outer * kernel.inner)?;
    let mut out = Writer::new();
    out.line(format_args!("let line = index * {INVOCATIONS}u + lane;"));
    if !lines.is_multiple_of(INVOCATIONS) {
        out.line(format_args!("if line >= {lines}u {{ return; }}"));
    }
    if wide {
        quads(&mut out, kernel, &memory)?;
    } else {
        singles(&mut out, kernel, &memory)?;
    }
    Entry {
        name: kernel.op.name(),
        invocations: [INVOCATIONS, 1],
        groups: lines.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: String::new(),
        body: out.finish(),
    }
    .shader(&memory, None)
}

/// What follows `acc` at an element.
fn next(op: Scanning, a: &str, x: &str) -> String {
    match op {
        Scanning::Sum => format!("acc + {x}"),
        Scanning::Prod => format!("acc * {x}"),
        Scanning::Max => format!("max(acc, {x})"),
        Scanning::Linear => format!("{a} * acc + {x}"),
    }
}

fn singles(out: &mut Writer, kernel: &ScanKernel, memory: &Memory) -> Result<(), ShaderError> {
    let [length, inner] = [small(kernel.length)?, small(kernel.inner)?];
    let block = small(kernel.length * kernel.inner)?;
    out.line(format_args!(
        "let start = line / {inner}u * {block}u + line % {inner}u;"
    ));
    let place = |step: &str| match kernel.reverse {
        true => format!("start + ({}u - {step}) * {inner}u", length - 1),
        false => format!("start + {step} * {inner}u"),
    };
    out.line(format_args!("let first = {};", place("0u")));
    out.line(format_args!(
        "var acc = {};",
        memory.load(kernel.x, "first")
    ));
    out.line(memory.store(kernel.out, "first", "acc"));
    out.block(
        format_args!("for (var i = 1u; i < {length}u; i++)"),
        |out| {
            out.line(format_args!("let at = {};", place("i")));
            let x = memory.load(kernel.x, "at");
            let a = kernel.a.map(|a| memory.load(a, "at")).unwrap_or_default();
            out.line(format_args!("acc = {};", next(kernel.op, &a, &x)));
            out.line(memory.store(kernel.out, "at", "acc"));
        },
    );
    Ok(())
}

fn quads(out: &mut Writer, kernel: &ScanKernel, memory: &Memory) -> Result<(), ShaderError> {
    let quads = small(kernel.length / 4)?;
    out.line(format_args!("let start = line * {quads}u;"));
    let place = |step: &str| match kernel.reverse {
        true => format!("start + ({}u - {step})", quads - 1),
        false => format!("start + {step}"),
    };
    let parts = match kernel.reverse {
        true => ["w", "z", "y", "x"],
        false => ["x", "y", "z", "w"],
    };
    let quad = |out: &mut Writer, step: &str, fresh: bool| {
        out.line(format_args!("let at = {};", place(step)));
        out.line(format_args!("let x = {};", memory.load4(kernel.x, "at")));
        if let Some(a) = kernel.a {
            out.line(format_args!("let a = {};", memory.load4(a, "at")));
        }
        out.line("var y = x;");
        for (number, part) in parts.into_iter().enumerate() {
            let (a, x) = (format!("a.{part}"), format!("x.{part}"));
            let value = match fresh && number == 0 {
                true => x,
                false => next(kernel.op, &a, &x),
            };
            out.line(format_args!("acc = {value};"));
            out.line(format_args!("y.{part} = acc;"));
        }
        for line in memory.store4(kernel.out, "at", "y") {
            out.line(line);
        }
    };
    let ty = super::memory::scalar(memory.dtype(kernel.x));
    out.line(format_args!("var acc: {ty};"));
    out.block("", |out| quad(out, "0u", true));
    out.block(format_args!("for (var i = 1u; i < {quads}u; i++)"), |out| {
        quad(out, "i", false);
    });
    Ok(())
}
