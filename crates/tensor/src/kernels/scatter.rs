//! Ordered sum of rows into a table: `out[v, c] = Σ x[i, c]` over the positions `i` with
//! `index[i] = v`, in ascending order.
//!
//! No float atomics: each element of the table is owned by one invocation, which walks all
//! positions and adds those that are its own. Every index is read once for each row of the table,
//! which suits tables of up to some ten thousand rows and batches of some thousand indices.

use gradus_graph::DType;
use gradus_graph::plan::ScatterKernel;

use super::memory::Memory;
use super::module::Entry;
use super::{MAX_TRIPS, Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The shader: one invocation for each element of the table.
pub(super) fn shader(kernel: &ScatterKernel, memory: Memory) -> Result<Shader, ShaderError> {
    let width = small(kernel.width)?;
    let count = small(kernel.count)?;
    let total = small(kernel.rows * kernel.width)?;
    let zero = match memory.dtype(kernel.out) {
        DType::F32 => "0.0",
        DType::I32 => "0i",
        DType::U32 | DType::Bool => "0u",
    };
    // Several positions for each iteration, where the device would stop a longer loop.
    let mut copies = 1;
    while (count / copies) as usize > MAX_TRIPS {
        copies *= 2;
    }
    let whole = count / copies * copies;
    let mut body = Writer::new();
    body.line(format_args!("let element = index * {INVOCATIONS}u + lane;"));
    if !total.is_multiple_of(INVOCATIONS) {
        body.line(format_args!("if element >= {total}u {{ return; }}"));
    }
    body.line(format_args!("let row = element / {width}u;"));
    body.line(format_args!("let col = element % {width}u;"));
    body.line(format_args!("var sum = {zero};"));
    for (from, to, copies) in [(0, whole, copies), (whole, count, 1)] {
        if from == to {
            continue;
        }
        let head = format!("for (var i = {from}u; i < {to}u; i += {copies}u)");
        body.block(head, |out| {
            for copy in 0..copies {
                let at = if copy == 0 {
                    "i".to_owned()
                } else {
                    format!("(i + {copy}u)")
                };
                let index = memory.load(kernel.index, &at);
                out.block(format_args!("if u32({index}) == row"), |out| {
                    let x = memory.load(kernel.x, &format!("{at} * {width}u + col"));
                    out.line(format_args!("sum += {x};"));
                });
            }
        });
    }
    body.line(memory.store(kernel.out, "element", "sum"));
    Entry {
        name: "scatter_add",
        invocations: [INVOCATIONS, 1],
        groups: total.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: String::new(),
        body: body.finish(),
    }
    .shader(&memory, None)
}
