//! Takes the batch from a resident data set: `out[j][i, …] = resident[j][order[batch + i], …]`.
//!
//! Every array is copied word by word, whatever its dtype; one dispatch serves all of them, so
//! that a resident data set costs a step one dispatch.

use gradus_graph::plan::TakeKernel;
use gradus_graph::step_row;

use super::memory::{Memory, step_word};
use super::module::Entry;
use super::{Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The shader: every invocation copies one word of each array.
pub(super) fn shader(kernel: &TakeKernel, memory: Memory) -> Result<Shader, ShaderError> {
    let mut most = 0;
    let mut body = Writer::new();
    body.line(format_args!("let word = index * {INVOCATIONS}u + lane;"));
    for (resident, batch, words) in &kernel.arrays {
        let words = small(*words)?;
        let total = small(kernel.count * words as usize)?;
        most = most.max(total);
        body.block(format_args!("if word < {total}u"), |out| {
            // The last batch may run over the end of the order, whose tail nobody reads.
            let last = kernel.samples.saturating_sub(1);
            out.line(format_args!(
                "let at = min({} + word / {words}u, {last}u);",
                step_word(step_row::BATCH)
            ));
            let sample = memory.load(kernel.order, "at");
            // The order is written by the host; a wrong one must not read outside.
            out.line(format_args!("let sample = min({sample}, {last}u);"));
            let from = format!("sample * {words}u + word % {words}u");
            let value = memory.load(*resident, &from);
            out.line(memory.store(*batch, "word", &value));
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
