//! The gradient of attention.

use gradus_graph::plan::AttentionPass;
use rayon::prelude::*;

use super::weights::{Block, Deltas, Gradient, Weights};
use super::{Attention, BLOCKS, MISFIT, RESULTS, dense, put, rows, turned};
use crate::exec::context::Context;
use crate::exec::gemm::{Onto, gemm};
use crate::exec::memory::Memory;

/// The queries that share a head of keys, and that head: `dq`, `dk`, `dv`, one after the other.
pub(super) fn run(
    attention: &Attention,
    context: Context<'_>,
    memory: &mut Memory<'_>,
) -> Result<(), String> {
    let s = &attention.kernel.sizes;
    let AttentionPass::Backward { dq, dk, dv, .. } = attention.kernel.pass else {
        return Err("a result is no gradient".into());
    };
    let shared = s.heads / s.groups;
    let lengths = [
        shared * s.queries * s.width,
        s.keys * s.width,
        s.keys * s.value_width,
    ];
    let each: usize = lengths.iter().sum();
    let count = s.batch * s.groups;
    // Taken, not borrowed: while other threads help, this one may begin another kernel.
    let mut results = RESULTS.take();
    results.grow(count * each);
    let words: &mut [f32] = bytemuck::cast_slice_mut(&mut results);
    let words = words.get_mut(..count * each).unwrap_or_default();
    let done = {
        let memory = &*memory;
        let one = |(i, results): (usize, &mut [f32])| {
            let at = [i / s.groups, i % s.groups];
            let (dq, rest) = results.split_at_mut(lengths[0]);
            let (dk, dv) = rest.split_at_mut(lengths[1]);
            compute(attention, context, memory, at, [dq, dk, dv])
        };
        if context.threads && attention.threads {
            let tasks = words.par_chunks_exact_mut(each).enumerate();
            tasks.try_for_each(one)
        } else {
            words.chunks_exact_mut(each).enumerate().try_for_each(one)
        }
    };
    let mut first = 0;
    let parts = [
        (dq, s.width, shared),
        (dk, s.width, 1),
        (dv, s.value_width, 1),
    ];
    for ((rows, width, heads), length) in parts.into_iter().zip(lengths) {
        let place = rows.and_then(|r| attention.places.get(r.operand));
        if let (Some(rows), Some(place)) = (rows, place) {
            let mut to = memory.write(place);
            for (i, results) in words.chunks_exact(each).enumerate() {
                let part = results.get(first..first + length).unwrap_or_default();
                for (r, head) in part.chunks_exact(length / heads).enumerate() {
                    let at = [i / s.groups, i % s.groups * heads + r];
                    put(to.floats(0), &rows, at, head, width);
                }
            }
        }
        first += length;
    }
    RESULTS.set(results);
    done
}

fn compute(
    attention: &Attention,
    context: Context<'_>,
    memory: &Memory<'_>,
    [b, group]: [usize; 2],
    [dq, dk, dv]: [&mut [f32]; 3],
) -> Result<(), String> {
    let (kernel, s) = (&attention.kernel, &attention.kernel.sizes);
    let AttentionPass::Backward { y, dy, log_sum, .. } = kernel.pass else {
        return Err("a result is no gradient".into());
    };
    let floats = |operand| attention.floats(memory, operand);
    let k = rows(floats(kernel.k.operand), &kernel.k, [b, 0, group])?;
    let v = rows(floats(kernel.v.operand), &kernel.v, [b, 0, group])?;
    let shared = s.heads / s.groups;
    let block = attention.block();
    let mut scratch = BLOCKS.take();
    scratch.grow(block * (3 * s.keys + 1));
    let mut fits = true;
    let (d, e) = (s.width, s.value_width);
    dk.fill(0.0);
    dv.fill(0.0);
    for (r, dq) in dq.chunks_exact_mut((s.queries * d).max(1)).enumerate() {
        let h = group * shared + r;
        let setting = attention.setting(context, memory, [b, h]);
        let logs = floats(log_sum).get((b * s.heads + h) * s.queries..);
        let logs = logs.and_then(|l| l.get(..s.queries)).ok_or(MISFIT)?;
        for (j, dq) in dq.chunks_mut(block * d).enumerate() {
            let query = j * block;
            let count = dq.len() / d.max(1);
            let cols = attention.keys(query + count);
            let (p, rest) = scratch.split_at_mut(count * cols);
            let (dp, rest) = rest.split_at_mut(count * cols);
            let (bits, deltas) = rest.split_at_mut(count * cols);
            let p: &mut [f32] = bytemuck::cast_slice_mut(p);
            let dp: &mut [f32] = bytemuck::cast_slice_mut(dp);
            let deltas: &mut [f32] = bytemuck::cast_slice_mut(deltas);
            let deltas = deltas.get_mut(..count).unwrap_or_default();
            let at = [b, query, h];
            let q = rows(floats(kernel.q.operand), &kernel.q, at)?;
            let y = rows(floats(y.operand), &y, at)?;
            let dy = rows(floats(dy.operand), &dy, at)?;
            let mut product = |sizes: [usize; 3], out: &mut [f32], factors, onto| {
                fits &= gemm(sizes, out, sizes[1], factors, onto, false);
            };
            product([count, cols, d], p, [q, turned(k)], Onto::Nothing);
            context.arch.dispatch(Weights {
                block: Block {
                    setting: &setting,
                    rows: p,
                    cols,
                    query,
                },
                logs: logs.get(query..).unwrap_or_default(),
            });
            product([count, cols, e], dp, [dy, turned(v)], Onto::Nothing);
            context.arch.dispatch(Deltas {
                y,
                dy,
                width: e,
                deltas,
            });
            let factors = setting.dropout.map(|dropout| {
                for (i, row) in bits.chunks_exact_mut(cols.max(1)).enumerate() {
                    let first = setting.first + (query + i) * setting.keys;
                    dropout.factors(context.arch, first, row);
                }
                bytemuck::cast_slice(bits)
            });
            context.arch.dispatch(Gradient {
                p,
                dp,
                factors,
                cols,
                deltas,
                scale: setting.scale,
            });
            let (p, ds) = (dense(p, cols), dense(dp, cols));
            product([cols, e, count], dv, [turned(p), dy], Onto::Sum);
            product([count, d, cols], dq, [ds, k], Onto::Nothing);
            product([cols, d, count], dk, [turned(ds), q], Onto::Sum);
        }
    }
    BLOCKS.set(scratch);
    fits.then_some(()).ok_or_else(|| MISFIT.into())
}
