//! Attention forward and backward: the sizes that networks have, and awkward ones.
#![allow(dead_code, reason = "each user takes what it needs")]

use gradus_graph::DType;
use gradus_graph::ops::{Attention, AttentionPart, AttentionSizes, Dropout, Heads};
use gradus_graph::plan::{AttentionKernel, AttentionPass, HeadRows, Mask};

use crate::kernels::Memory;

/// `[B, T, S, H, G, D, E]`, causal, the dtype of a mask, dropped.
type Case = ([usize; 7], bool, Option<DType>, bool);

const CASES: [Case; 6] = [
    ([2, 64, 64, 4, 4, 32, 32], true, None, false),
    ([1, 128, 128, 2, 1, 64, 64], true, None, false),
    ([1, 64, 96, 2, 2, 128, 128], false, None, false),
    ([2, 33, 40, 2, 1, 6, 10], false, Some(DType::F32), true),
    ([2, 64, 64, 2, 2, 64, 64], false, Some(DType::Bool), true),
    ([1, 3, 5, 1, 1, 1, 1], true, Some(DType::Bool), false),
];

/// Every case forward and backward, with a name.
pub(crate) fn all() -> Vec<(String, AttentionKernel, Vec<Memory>)> {
    let cases = CASES
        .iter()
        .flat_map(|case| [false, true].map(|b| (case, b)));
    cases
        .map(|(case, backward)| kernel(case, backward))
        .collect()
}

fn kernel(
    &(sizes, causal, mask, dropped): &Case,
    backward: bool,
) -> (String, AttentionKernel, Vec<Memory>) {
    let [batch, queries, keys, heads, groups, width, value_width] = sizes;
    let mut memory = Vec::new();
    let mut rows = |writes: bool, positions: usize, heads: usize, width: usize| {
        let count = batch * positions * heads * width;
        memory.push(match writes {
            true => Memory::output(DType::F32, count),
            false => Memory::floats(&vec![0.5; count]),
        });
        HeadRows {
            operand: memory.len() - 1,
            offset: 0,
            strides: [positions * heads * width, heads * width, width],
        }
    };
    let q = rows(false, queries, heads, width);
    let k = rows(false, keys, groups, width);
    let v = rows(false, keys, groups, value_width);
    let y = rows(!backward, queries, heads, value_width);
    let pass = if backward {
        let dy = rows(false, queries, heads, value_width);
        // Gradients lie one after the other: there are few bindings.
        let sizes = [
            [queries, heads, width],
            [keys, groups, width],
            [keys, groups, value_width],
        ];
        let mut offset = 0;
        let [dq, dk, dv] = sizes.map(|[positions, heads, width]| {
            let first = offset;
            offset += batch * positions * heads * width;
            Some(HeadRows {
                operand: 5,
                offset: first,
                strides: [positions * heads * width, heads * width, width],
            })
        });
        memory.push(Memory::output(DType::F32, offset));
        memory.push(Memory::floats(&vec![1.0; batch * heads * queries]));
        AttentionPass::Backward {
            y,
            dy,
            log_sum: memory.len() - 1,
            dq,
            dk,
            dv,
        }
    } else {
        memory.push(Memory::output(DType::F32, batch * heads * queries));
        AttentionPass::Forward {
            y,
            log_sum: Some(memory.len() - 1),
        }
    };
    let mask_of = mask.map(|dtype| {
        memory.push(match dtype {
            DType::F32 => Memory::floats(&vec![0.0; batch * keys]),
            dtype => Memory::input(dtype, vec![1; batch * keys]),
        });
        Mask {
            operand: memory.len() - 1,
            strides: [keys, 0, 0, 1],
        }
    });
    let part = |input, count| Heads {
        input,
        first: 0,
        count,
    };
    let op = Attention {
        part: AttentionPart::Output,
        q: part(0, heads),
        k: part(1, groups),
        v: part(2, groups),
        scale: 0.5,
        causal,
        masked: mask.is_some(),
        dropout: dropped.then_some(Dropout {
            stream: 1 << 40,
            rate: 0.1,
        }),
    };
    let direction = if backward { "backward" } else { "forward" };
    let kernel = AttentionKernel {
        op,
        sizes: AttentionSizes {
            batch,
            queries,
            keys,
            heads,
            groups,
            width,
            value_width,
        },
        q,
        k,
        v,
        mask: mask_of,
        pass,
    };
    (format!("attention {direction} {sizes:?}"), kernel, memory)
}
