//! Some rows of each sample written over: `out[b, start[b] + t, c] = new[b, t, c]`, elsewhere
//! `x[b, s, c]`.
//!
//! Where `out` takes the place of `x`, an invocation writes one new element, or four; otherwise one
//! element of the result, or four.

use gradus_graph::plan::UpdateKernel;

use super::memory::{Memory, scalar};
use super::module::Entry;
use super::{Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The shader.
pub(super) fn shader(kernel: &UpdateKernel, mut memory: Memory) -> Result<Shader, ShaderError> {
    let operands = [kernel.x, kernel.new, kernel.out];
    let wide =
        kernel.width.is_multiple_of(4) && operands.iter().all(|&operand| memory.aligned(operand));
    for operand in operands {
        if wide {
            memory.note_quads(operand);
        } else {
            memory.note_singles(operand);
        }
    }
    let unit = if wide { 4 } else { 1 };
    let walked = if kernel.in_place() {
        kernel.count
    } else {
        kernel.rows
    };
    let [cols, rows, count, walked] = [
        small(kernel.width / unit)?,
        small(kernel.rows)?,
        small(kernel.count)?,
        small(walked)?,
    ];
    let total = small(kernel.batch * walked as usize * cols as usize)?;
    small(kernel.batch * kernel.rows.max(kernel.count) * kernel.width)?;

    let mut out = Writer::new();
    out.line(format_args!("let at = index * {INVOCATIONS}u + lane;"));
    if !total.is_multiple_of(INVOCATIONS) {
        out.line(format_args!("if at >= {total}u {{ return; }}"));
    }
    out.line(format_args!("let col = at % {cols}u;"));
    out.line(format_args!("let row = i32(at / {cols}u % {walked}u);"));
    out.line(format_args!("let sample = at / ({cols}u * {walked}u);"));
    let start = memory.load(kernel.start, "sample");
    out.line(format_args!("let start = {start};"));
    let load = |operand, at: &str| match wide {
        true => memory.load4(operand, at),
        false => memory.load(operand, at),
    };
    let store = |out: &mut Writer, at: &str| match wide {
        true => {
            for line in memory.store4(kernel.out, at, "value") {
                out.line(line);
            }
        }
        false => out.line(memory.store(kernel.out, at, "value")),
    };
    if kernel.in_place() {
        // Compared without a sum that could overflow.
        out.line(format_args!(
            "let inside = start < {rows} - row && start >= -row;"
        ));
        out.block("if inside", |out| {
            out.line(format_args!("let value = {};", load(kernel.new, "at")));
            out.line(format_args!(
                "let place = (sample * {rows}u + u32(start + row)) * {cols}u + col;"
            ));
            store(out, "place");
        });
    } else {
        let element = scalar(memory.dtype(kernel.out));
        let ty = match wide {
            true => format!("vec4<{element}>"),
            false => element.to_owned(),
        };
        out.line(format_args!(
            "let inside = start <= row && start > row - {count};"
        ));
        out.line(format_args!("var value: {ty};"));
        out.line("if inside {");
        out.line(format_args!(
            "    let source = (sample * {count}u + u32(row - start)) * {cols}u + col;"
        ));
        out.line(format_args!("    value = {};", load(kernel.new, "source")));
        out.line("} else {");
        out.line(format_args!("    value = {};", load(kernel.x, "at")));
        out.line("}");
        store(&mut out, "at");
    }
    Entry {
        name: "slice_update",
        invocations: [INVOCATIONS, 1],
        groups: total.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: String::new(),
        body: out.finish(),
    }
    .shader(&memory, None)
}
