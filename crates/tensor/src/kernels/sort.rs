//! The order of elements, run by run.
//!
//! Every element becomes a `u32` key that is as large among others as the element; equal keys are
//! told apart by their positions, so that the order is the only one there is. Short runs are ranked:
//! each element counts those before it. Runs that fit workgroup memory are sorted there by a bitonic
//! network (Batcher, 1968). Longer runs are merged from two sorted halves: each element finds its
//! place among the others by bisection.

use gradus_graph::DType;
use gradus_graph::plan::SortKernel;

use super::memory::{Memory, scalar};
use super::module::Entry;
use super::{Shader, ShaderError, Writer, small};

const INVOCATIONS: u32 = 64;

/// The longest run whose elements are ranked.
const RANKED: usize = 64;

/// The most invocations that share a network.
const MAX_GROUP: usize = 256;

/// The shader, which reads and writes single elements.
pub(super) fn shader(kernel: &SortKernel, mut memory: Memory) -> Result<Shader, ShaderError> {
    for operand in [Some(kernel.x), Some(kernel.out), kernel.order]
        .into_iter()
        .flatten()
    {
        memory.note_singles(operand);
    }
    let run = kernel.run.min(kernel.length);
    match kernel.order {
        Some(order) => merge(kernel, order, run, &memory),
        None if run <= RANKED => rank(kernel, run, &memory),
        None => network(kernel, run, &memory),
    }
}

/// The function that makes a key of an element.
fn key(kernel: &SortKernel, memory: &Memory) -> Writer {
    let dtype = memory.dtype(kernel.x);
    let mut out = Writer::new();
    out.block(format_args!("fn key(x: {}) -> u32", scalar(dtype)), |out| {
        match dtype {
            DType::F32 => {
                out.line("let bits = bitcast<u32>(x);");
                out.line("let size = bits & 0x7fffffffu;");
                out.line("var key = select(bits | 0x80000000u, ~bits, bits > 0x7fffffffu);");
                out.line("key = select(key, 0x80000000u, size == 0u);");
                out.line("key = select(key, 0xffffffffu, size > 0x7f800000u);");
            }
            DType::I32 => out.line("let key = bitcast<u32>(x) ^ 0x80000000u;"),
            DType::U32 | DType::Bool => out.line("let key = u32(x);"),
        }
        out.line(if kernel.descending {
            "return ~key;"
        } else {
            "return key;"
        });
    });
    out
}

/// One invocation for each element, which is `at` in its row.
fn elements(
    kernel: &SortKernel,
    memory: &Memory,
    body: impl FnOnce(&mut Writer),
) -> Result<Shader, ShaderError> {
    let total = small(kernel.rows * kernel.length)?;
    let length = small(kernel.length)?;
    let mut out = Writer::new();
    out.line(format_args!("let element = index * {INVOCATIONS}u + lane;"));
    if !total.is_multiple_of(INVOCATIONS) {
        out.line(format_args!("if element >= {total}u {{ return; }}"));
    }
    out.line(format_args!("let at = element % {length}u;"));
    out.line("let row = element - at;");
    body(&mut out);
    Entry {
        name: "argsort",
        invocations: [INVOCATIONS, 1],
        groups: total.div_ceil(INVOCATIONS),
        workgroup_memory: 0,
        functions: key(kernel, memory).finish(),
        body: out.finish(),
    }
    .shader(memory, None)
}

/// Each element counts those of its run that come before it.
fn rank(kernel: &SortKernel, run: usize, memory: &Memory) -> Result<Shader, ShaderError> {
    let [run, length] = [small(run)?, small(kernel.length)?];
    elements(kernel, memory, |out| {
        out.line(format_args!("let start = at / {run}u * {run}u;"));
        out.line(format_args!("let stop = min(start + {run}u, {length}u);"));
        let own = memory.load(kernel.x, "row + at");
        out.line(format_args!("let own = key({own});"));
        out.line("var place = row + start;");
        out.block("for (var i = start; i < stop; i++)", |out| {
            let other = memory.load(kernel.x, "row + i");
            out.line(format_args!("let other = key({other});"));
            out.line("let before = (other < own) | ((other == own) & (i < at));");
            out.line("place += select(0u, 1u, before);");
        });
        out.line(memory.store(kernel.out, "place", "i32(at)"));
    })
}

/// Each element finds its place among those of the other half.
fn merge(
    kernel: &SortKernel,
    order: usize,
    run: usize,
    memory: &Memory,
) -> Result<Shader, ShaderError> {
    let [run, half] = [small(kernel.run.max(run))?, small(kernel.run / 2)?];
    let length = small(kernel.length)?;
    elements(kernel, memory, |out| {
        out.line(format_args!("let start = at / {run}u * {run}u;"));
        out.line(format_args!(
            "let middle = min(start + {half}u, {length}u);"
        ));
        out.line(format_args!("let stop = min(start + {run}u, {length}u);"));
        out.line("let left = at < middle;");
        let own = memory.load(order, "row + at");
        out.line(format_args!("let own = u32({own});"));
        let own_key = memory.load(kernel.x, "row + own");
        out.line(format_args!("let own_key = key({own_key});"));
        out.line("let first = select(start, middle, left);");
        out.line("var low = first;");
        out.line("var high = select(middle, stop, left);");
        out.block("while low < high", |out| {
            out.line("let half = (low + high) / 2u;");
            let other = memory.load(order, "row + half");
            let other = memory.load(kernel.x, &format!("row + u32({other})"));
            out.line(format_args!("let other = key({other});"));
            out.line("let before = (other < own_key) | (!left & (other == own_key));");
            out.line("low = select(low, half + 1u, before);");
            out.line("high = select(half, high, before);");
        });
        out.line("let place = row + start + (at - select(middle, start, left)) + (low - first);");
        out.line(memory.store(kernel.out, "place", "i32(own)"));
    })
}

/// A workgroup for each run, which it sorts in workgroup memory.
fn network(kernel: &SortKernel, run: usize, memory: &Memory) -> Result<Shader, ShaderError> {
    let runs = kernel.length.div_ceil(run.max(1));
    let groups = small(kernel.rows * runs)?;
    let places = run.next_power_of_two();
    let lanes = small((places / 2).clamp(1, MAX_GROUP))?;
    let [run, runs, length] = [small(run)?, small(runs)?, small(kernel.length)?];
    let places = small(places)?;
    let mut functions = key(kernel, memory);
    functions.line(format_args!("var<workgroup> keys: array<u32, {places}>;"));
    functions.line(format_args!("var<workgroup> places: array<u32, {places}>;"));
    let mut out = Writer::new();
    out.line(format_args!("let row = index / {runs}u * {length}u;"));
    out.line(format_args!("let start = index % {runs}u * {run}u;"));
    out.line(format_args!("let count = min({run}u, {length}u - start);"));
    let each = format!("for (var i = lane; i < {places}u; i += {lanes}u)");
    out.block(&each, |out| {
        // Beyond the run: after all others, by key and by place.
        let x = memory.load(kernel.x, "row + start + min(i, count - 1u)");
        out.line(format_args!(
            "keys[i] = select(0xffffffffu, key({x}), i < count);"
        ));
        out.line("places[i] = start + i;");
    });
    let sizes = format!("for (var size = 2u; size <= {places}u; size <<= 1u)");
    out.block(sizes, |out| {
        out.block("for (var gap = size >> 1u; gap > 0u; gap >>= 1u)", |out| {
            out.line("workgroupBarrier();");
            let pairs = format!("for (var i = lane; i < {}u; i += {lanes}u)", places / 2);
            out.block(pairs, |out| {
                out.line("let low = 2u * i - (i & (gap - 1u));");
                out.line("let high = low + gap;");
                out.line("let a = keys[low];");
                out.line("let b = keys[high];");
                out.line("let place_a = places[low];");
                out.line("let place_b = places[high];");
                out.line("let after = (a > b) | ((a == b) & (place_a > place_b));");
                out.block("if after == ((low & size) == 0u)", |out| {
                    out.line("keys[low] = b;");
                    out.line("keys[high] = a;");
                    out.line("places[low] = place_b;");
                    out.line("places[high] = place_a;");
                });
            });
        });
    });
    out.line("workgroupBarrier();");
    let each = format!("for (var i = lane; i < count; i += {lanes}u)");
    out.block(each, |out| {
        out.line(memory.store(kernel.out, "row + start + i", "i32(places[i])"));
    });
    Entry {
        name: "argsort",
        invocations: [lanes, 1],
        groups,
        workgroup_memory: 8 * places,
        functions: functions.finish(),
        body: out.finish(),
    }
    .shader(memory, None)
}
