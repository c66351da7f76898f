//! The result of attention.

use gradus_graph::plan::HeadRows;
use rayon::prelude::*;

use super::weights::{Block, Softmax};
use super::{Attention, BLOCKS, MISFIT, RESULTS, dense, put, rows, turned};
use crate::exec::context::Context;
use crate::exec::gemm::{Onto, gemm};
use crate::exec::memory::Memory;

/// A block of queries of one head.
struct Task<'a> {
    /// Sample and head.
    at: [usize; 2],
    /// Its first query.
    query: usize,
    /// `[queries, E]`
    y: &'a mut [f32],
    /// Logarithms of the sums.
    logs: &'a mut [f32],
}

pub(super) fn run(
    attention: &Attention,
    context: Context<'_>,
    memory: &mut Memory<'_>,
    y: HeadRows,
    log_sum: Option<usize>,
) -> Result<(), String> {
    let s = &attention.kernel.sizes;
    let heads = s.batch * s.heads;
    let (head, all) = (s.queries * s.value_width, heads * s.queries * s.value_width);
    // Taken, not borrowed: while other threads help, this one may begin another kernel.
    let mut results = RESULTS.take();
    results.grow(all + heads * s.queries);
    let words: &mut [f32] = bytemuck::cast_slice_mut(&mut results);
    let (ys, logs) = words.split_at_mut(all);
    let done = {
        let block = attention.block();
        let heads = ys.chunks_mut(head).zip(logs.chunks_mut(s.queries));
        let tasks = heads.enumerate().flat_map(|(i, (ys, logs))| {
            let blocks = ys
                .chunks_mut(block * s.value_width)
                .zip(logs.chunks_mut(block));
            blocks.enumerate().map(move |(j, (y, logs))| Task {
                at: [i / s.heads, i % s.heads],
                query: j * block,
                y,
                logs,
            })
        });
        let memory = &*memory;
        if context.threads && attention.threads {
            let tasks: Vec<Task<'_>> = tasks.collect();
            let tasks = tasks.into_par_iter();
            tasks.try_for_each(|task| compute(attention, context, memory, task))
        } else {
            let mut tasks = tasks;
            tasks.try_for_each(|task| compute(attention, context, memory, task))
        }
    };
    if let Some(place) = attention.places.get(y.operand) {
        let mut to = memory.write(place);
        for (i, from) in ys.chunks(head).take(heads).enumerate() {
            put(
                to.floats(0),
                &y,
                [i / s.heads, i % s.heads],
                from,
                s.value_width,
            );
        }
    }
    if let Some(place) = log_sum.and_then(|l| attention.places.get(l)) {
        let mut to = memory.write(place);
        let sums = to.floats(0).iter_mut().zip(logs.iter());
        sums.take(heads * s.queries)
            .for_each(|(to, from)| *to = *from);
    }
    RESULTS.set(results);
    done
}

fn compute(
    attention: &Attention,
    context: Context<'_>,
    memory: &Memory<'_>,
    task: Task<'_>,
) -> Result<(), String> {
    let (kernel, s) = (&attention.kernel, &attention.kernel.sizes);
    let Task {
        at: [b, h],
        query,
        y,
        logs,
    } = task;
    let count = logs.len();
    let cols = attention.keys(query + count);
    let group = h / (s.heads / s.groups);
    let floats = |operand| attention.floats(memory, operand);
    let q = rows(floats(kernel.q.operand), &kernel.q, [b, query, h])?;
    let k = rows(floats(kernel.k.operand), &kernel.k, [b, 0, group])?;
    let v = rows(floats(kernel.v.operand), &kernel.v, [b, 0, group])?;
    let setting = attention.setting(context, memory, [b, h]);
    let cols = setting.reach(query..query + count, cols);
    let mut scratch = BLOCKS.take();
    scratch.grow(count * (cols + 1) + cols);
    let (weights, rest) = scratch.split_at_mut(count * cols);
    let (shares, bits) = rest.split_at_mut(count);
    let weights: &mut [f32] = bytemuck::cast_slice_mut(weights);
    let shares: &mut [f32] = bytemuck::cast_slice_mut(shares);
    let sizes = [count, cols, s.width];
    let mut fits = gemm(sizes, weights, cols, [q, turned(k)], Onto::Nothing, false);
    context.arch.dispatch(Softmax {
        block: Block {
            setting: &setting,
            rows: weights,
            cols,
            query,
        },
        shares,
        logs,
    });
    if let Some(dropout) = &setting.dropout {
        for (i, row) in weights.chunks_exact_mut(cols.max(1)).enumerate() {
            let bits = bits.get_mut(..cols).unwrap_or_default();
            let first = setting.first + (query + i) * setting.keys;
            dropout.factors(context.arch, first, bits);
            let factors: &[f32] = bytemuck::cast_slice(bits);
            row.iter_mut().zip(factors).for_each(|(w, z)| *w *= z);
        }
    }
    let sizes = [count, s.value_width, cols];
    let factors = [dense(weights, cols), v];
    fits &= gemm(sizes, y, s.value_width, factors, Onto::Nothing, false);
    for (row, share) in y.chunks_exact_mut(s.value_width.max(1)).zip(shares) {
        row.iter_mut().for_each(|y| *y *= *share);
    }
    BLOCKS.set(scratch);
    fits.then_some(()).ok_or_else(|| MISFIT.into())
}
