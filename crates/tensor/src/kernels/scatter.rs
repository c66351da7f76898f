//! Ordered sum of rows into a table: `out[v, c] = Σ x[i, c]` over the positions `i` with
//! `index[i] = v`, in ascending order; or the first of these positions in a given order.
//!
//! No float atomics: each element of the table belongs to one invocation. An invocation owns one
//! column, or four, of a block of rows.
//!
//! If the order of the indices is known, the terms of a row are neighbours in it: the invocation
//! finds the first of its block by bisection and walks rows and terms together. The whole reads each
//! term once and writes each row once. Otherwise, with few positions, it clears its rows, walks
//! all positions and adds those that fall into its block. Every index is read once for each block
//! and column then, so blocks are as large as the device can be kept busy with.

use gradus_graph::plan::ScatterKernel;
use gradus_graph::{DType, DeviceClass, Target};

use super::memory::{Memory, scalar};
use super::module::Entry;
use super::{MAX_TRIPS, Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The most rows of a block: the loop that clears them counts towards the loop limit.
const MAX_ROWS: usize = MAX_TRIPS / 2;

/// The shader: one invocation for each column, or four, of each block.
pub(super) fn shader(
    kernel: &ScatterKernel,
    mut memory: Memory,
    target: &Target,
) -> Result<Shader, ShaderError> {
    let moved = || kernel.x.into_iter().chain([kernel.out]);
    let wide = kernel.width.is_multiple_of(4) && moved().all(|operand| memory.aligned(operand));
    let unit = if wide { 4 } else { 1 };
    for operand in moved() {
        if wide {
            memory.note_quads(operand);
        } else {
            memory.note_singles(operand);
        }
    }
    let wanted = match (target.class, kernel.order) {
        (DeviceClass::Gpu, Some(_)) => 1 << 18,
        (DeviceClass::Gpu, None) => 1 << 16,
        (DeviceClass::Software | DeviceClass::Cpu, _) => 1 << 8,
    };
    let cols = kernel.width / unit;
    let blocks = (wanted / cols.max(1)).clamp(1, kernel.rows.max(1));
    let rows = kernel.rows.div_ceil(blocks).min(MAX_ROWS);
    let blocks = kernel.rows.div_ceil(rows.max(1));
    let [rows, cols, all] = [small(rows)?, small(cols)?, small(kernel.rows)?];
    let total = small(blocks)? * cols;

    let element = scalar(memory.dtype(kernel.out));
    let ty = if wide {
        format!("vec4<{element}>")
    } else {
        element.to_owned()
    };
    let mut out = Writer::new();
    out.line(format_args!("let owner = index * {INVOCATIONS}u + lane;"));
    if !total.is_multiple_of(INVOCATIONS) {
        out.line(format_args!("if owner >= {total}u {{ return; }}"));
    }
    out.line(format_args!("let col = owner % {cols}u;"));
    out.line(format_args!("let low = owner / {cols}u * {rows}u;"));
    out.line(format_args!("let high = min(low + {rows}u, {all}u);"));
    let access = Access {
        memory: &memory,
        wide,
        cols,
    };
    let mut functions = Writer::new();
    if let Some(order) = kernel.order {
        functions.block("fn row_at(place: u32) -> u32", |out| {
            let at = format!("u32({})", memory.load(order, "place"));
            let index = memory.load(kernel.index, &at);
            out.line(format_args!("return u32({index});"));
        });
        sorted(&mut out, kernel, order, &access, &ty)?;
    } else {
        let none = match kernel.x {
            Some(_) => format!("{ty}()"),
            None => format!("{ty}({}u)", small(kernel.count)?),
        };
        out.block("for (var row = low; row < high; row++)", |out| {
            access.store(out, kernel.out, "row", &none);
        });
        walk(&mut out, kernel, &access)?;
    }
    Entry {
        name: "scatter",
        invocations: [INVOCATIONS, 1],
        groups: total.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: functions.finish(),
        body: out.finish(),
    }
    .shader(&memory, None)
}

/// Positions that one iteration takes, so that no loop is longer than the device allows.
fn copies(kernel: &ScatterKernel) -> usize {
    let mut copies = 1;
    while kernel.count / copies > MAX_TRIPS / 2 {
        copies *= 2;
    }
    copies
}

/// Adds the terms of each row, which follow each other in the order, or finds the first.
fn sorted(
    out: &mut Writer,
    kernel: &ScatterKernel,
    order: usize,
    access: &Access<'_>,
    ty: &str,
) -> Result<(), ShaderError> {
    let count = small(kernel.count)?;
    out.line("var place = 0u;");
    out.line(format_args!("var end = {count}u;"));
    out.block("while place < end", |out| {
        out.line("let half = (place + end) / 2u;");
        out.line("let before = row_at(half) < low;");
        out.line("place = select(place, half + 1u, before);");
        out.line("end = select(half, end, before);");
    });
    // The row of the next term; none is as large as the last word.
    let next = format!(
        "select(0xffffffffu, row_at(min(place, {}u)), place < {count}u)",
        count.saturating_sub(1)
    );
    out.line(format_args!("var next = {next};"));
    out.block("for (var row = low; row < high; row++)", |out| {
        match kernel.x {
            Some(_) => out.line(format_args!("var sum = {ty}();")),
            None => out.line(format_args!(
                "let first = select({count}u, place, next == row);"
            )),
        }
        out.block("while next == row", |out| {
            for _ in 0..copies(kernel) {
                out.block("if next == row", |out| {
                    if let Some(x) = kernel.x {
                        let at = access.memory.load(order, "place");
                        out.line(format_args!("let at = u32({at});"));
                        let x = access.load(x, "at");
                        out.line(format_args!("sum = sum + {x};"));
                    }
                    out.line("place++;");
                    out.line(format_args!("next = {next};"));
                });
            }
        });
        let result = if kernel.x.is_some() {
            "sum"
        } else {
            "i32(first)"
        };
        access.store(out, kernel.out, "row", result);
    });
    Ok(())
}

/// Takes all positions, several in each iteration where the device would stop a longer loop.
fn walk(out: &mut Writer, kernel: &ScatterKernel, access: &Access<'_>) -> Result<(), ShaderError> {
    let copies = copies(kernel);
    let whole = kernel.count / copies * copies;
    for (from, to, copies) in [(0, whole, copies), (whole, kernel.count, 1)] {
        if from == to {
            continue;
        }
        let [from, to, copies] = [small(from)?, small(to)?, small(copies)?];
        let head = format!("for (var i = {from}u; i < {to}u; i += {copies}u)");
        out.block(head, |out| {
            for copy in 0..copies {
                out.block("", |out| {
                    out.line(format_args!("let at = i + {copy}u;"));
                    let index = access.memory.load(kernel.index, "at");
                    let index = match access.memory.dtype(kernel.index) {
                        DType::U32 => index,
                        _ => format!("u32({index})"),
                    };
                    out.line(format_args!("let row = {index};"));
                    out.block("if row >= low && row < high", |out| {
                        let old = access.load(kernel.out, "row");
                        let new = match kernel.x {
                            Some(x) => format!("{old} + {}", access.load(x, "at")),
                            None => format!("min({old}, i32(at))"),
                        };
                        access.store(out, kernel.out, "row", &new);
                    });
                });
            }
        });
    }
    Ok(())
}

/// Elements of a row that one invocation owns.
struct Access<'a> {
    memory: &'a Memory,
    wide: bool,
    /// Invocations for one row.
    cols: u32,
}

impl Access<'_> {
    fn load(&self, operand: usize, row: &str) -> String {
        let at = format!("({row} * {}u + col)", self.cols);
        if self.wide {
            self.memory.load4(operand, &at)
        } else {
            self.memory.load(operand, &at)
        }
    }

    fn store(&self, out: &mut Writer, operand: usize, row: &str, value: &str) {
        let at = format!("({row} * {}u + col)", self.cols);
        if !self.wide {
            out.line(self.memory.store(operand, &at, value));
            return;
        }
        out.line(format_args!("let total = {value};"));
        for line in self.memory.store4(operand, &at, "total") {
            out.line(line);
        }
    }
}
