//! Takes the batch from a resident data set: `out[j][i, …] = resident[j][order[batch + i], …]`.
//!
//! Every array is copied word by word, or four at once, whatever its dtype; one dispatch serves
//! all of them, so that a resident data set costs a step one dispatch.

use gradus_graph::plan::TakeKernel;
use gradus_graph::step_row;

use super::memory::{Memory, step_word};
use super::module::Entry;
use super::{Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The shader: every invocation copies one word, or four, of each array.
pub(super) fn shader(kernel: &TakeKernel, mut memory: Memory) -> Result<Shader, ShaderError> {
    let mut wide = Vec::new();
    for (resident, batch, words) in &kernel.arrays {
        let quads = [*resident, *batch].iter().all(|o| memory.aligned(*o));
        let quads = quads && words.is_multiple_of(4);
        for operand in [*resident, *batch] {
            if quads {
                memory.note_quads(operand);
            } else {
                memory.note_singles(operand);
            }
        }
        wide.push(quads);
    }
    let mut most = 0;
    let mut body = Writer::new();
    body.line(format_args!("let word = index * {INVOCATIONS}u + lane;"));
    let last = small(kernel.samples.saturating_sub(1))?;
    for ((resident, batch, words), wide) in kernel.arrays.iter().zip(wide) {
        let words = words / if wide { 4 } else { 1 };
        let total = small(kernel.count * words)?;
        most = most.max(total);
        body.block(format_args!("if word < {total}u"), |out| {
            // The order is written by the host: a wrong one must not make us read outside.
            let at = format!(
                "min({} + word / {words}u, {last}u)",
                step_word(step_row::BATCH)
            );
            let sample = memory.load(kernel.order, &at);
            out.line(format_args!("let sample = min({sample}, {last}u);"));
            let from = format!("(sample * {words}u + word % {words}u)");
            if !wide {
                let value = memory.load(*resident, &from);
                out.line(memory.store(*batch, "word", &value));
                return;
            }
            out.line(format_args!(
                "let value = {};",
                memory.load4(*resident, &from)
            ));
            for line in memory.store4(*batch, "word", "value") {
                out.line(line);
            }
        });
    }
    Entry {
        name: "take",
        invocations: [INVOCATIONS, 1],
        groups: most.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: String::new(),
        body: body.finish(),
    }
    .shader(&memory, None)
}
