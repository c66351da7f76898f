//! Attention over heads.

use super::Var;
use crate::ops::{Attention, AttentionPart, Dropout, EXCLUDED, Heads, Op};
use crate::{NodeId, Shape};

/// How an attention weighs its keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionOptions<'g> {
    scale: Option<f64>,
    causal: bool,
    mask: Option<Var<'g>>,
    dropout: Option<Dropout>,
}

impl<'g> AttentionOptions<'g> {
    /// Every query attends to every key; products are scaled by `1/√D`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scales products of queries and keys by this.
    #[must_use]
    pub const fn scale(mut self, scale: f64) -> Self {
        self.scale = Some(scale);
        self
    }

    /// Query `i` attends to keys `0..=i` only.
    #[must_use]
    pub const fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// A mask that broadcasts to `[B, H, T, S]`: bool, true where a query may attend, or f32, added
    /// to the scaled products; half the lowest f32 or less (−∞) excludes. Masks that are set one
    /// after the other all hold.
    #[must_use]
    #[track_caller]
    pub fn mask(mut self, mask: Var<'g>) -> Self {
        self.mask = Some(match self.mask {
            None => mask,
            Some(other) => joined(other, mask),
        });
        self
    }

    /// Drops weights at this rate; see [`Dropout`].
    #[must_use]
    pub const fn dropout(mut self, stream: u64, rate: f64) -> Self {
        self.dropout = Some(Dropout { stream, rate });
        self
    }
}

/// One mask that excludes what either does.
#[track_caller]
fn joined<'g>(a: Var<'g>, b: Var<'g>) -> Var<'g> {
    use crate::DType::Bool;
    match (a.dtype(), b.dtype()) {
        (Bool, Bool) => a.and(b),
        (Bool, _) => a.select(b, f32::MIN),
        (_, Bool) => b.select(a, f32::MIN),
        // Two excluding numbers would add up to −∞.
        _ => (a.maximum(EXCLUDED) + b.maximum(EXCLUDED)).maximum(f32::MIN),
    }
}

impl<'g> Var<'g> {
    /// Scaled dot-product attention of these queries `[B, T, H, D]` to keys `[B, S, G, D]` and
    /// values `[B, S, G, E]`, giving `[B, T, H, E]`; see [`Attention`]. `H` is a multiple of `G`.
    #[track_caller]
    pub fn attention(self, keys: Self, values: Self, options: &AttentionOptions<'g>) -> Self {
        let heads = |input, x: Self| Heads {
            input,
            first: 0,
            count: x.dim(2),
        };
        let parts = [heads(0, self), heads(1, keys), heads(2, values)];
        attend(&[self, keys, values], parts, options)
    }

    /// The attention of a sequence to itself, from queries, keys and values as heads of one
    /// tensor: `[B, T, heads + 2·groups, D]` in this order gives `[B, T, heads, D]`. Its gradient is
    /// one tensor again.
    #[track_caller]
    pub fn self_attention(
        self,
        heads: usize,
        groups: usize,
        options: &AttentionOptions<'g>,
    ) -> Self {
        let part = |first, count| Heads {
            input: 0,
            first,
            count,
        };
        let parts = [
            part(0, heads),
            part(heads, groups),
            part(heads + groups, groups),
        ];
        attend(&[self], parts, options)
    }

    /// The attention of these queries `[B, T, heads, D]` to another sequence, whose keys and
    /// values are heads of one tensor, `[B, S, 2·groups, D]`.
    #[track_caller]
    pub fn cross_attention(self, keys_values: Self, options: &AttentionOptions<'g>) -> Self {
        let groups = keys_values.dim(2) / 2;
        let part = |input, first, count| Heads {
            input,
            first,
            count,
        };
        let parts = [
            part(0, 0, self.dim(2)),
            part(1, 0, groups),
            part(1, groups, groups),
        ];
        attend(&[self, keys_values], parts, options)
    }
}

#[track_caller]
fn attend<'g>(
    sources: &[Var<'g>],
    [q, k, v]: [Heads; 3],
    options: &AttentionOptions<'g>,
) -> Var<'g> {
    let x = sources[0];
    let graph = x.graph();
    if sources.iter().chain(&options.mask).any(Var::is_poisoned) {
        return graph.var(NodeId::POISON);
    }
    let mut inputs = sources[1..].to_vec();
    if let Some(mask) = options.mask {
        // Axes that are missing stand in front, as NumPy has it.
        let missing = 4usize.saturating_sub(mask.rank());
        let dims = [&vec![1; missing][..], &mask.shape()[..]].concat();
        inputs.push(mask.reshape(Shape::try_new(&dims).unwrap_or(mask.shape())));
    }
    if let Some(rate) = options.dropout.map(|d| d.rate)
        && !(0.0..1.0).contains(&rate)
    {
        let message = format!("a rate must be at least 0 and below 1, found {rate}");
        return graph.fail("attention", message);
    }
    let width = x.dim(3).max(1) as f64;
    let op = Attention {
        part: AttentionPart::Output,
        q,
        k,
        v,
        scale: options.scale.unwrap_or(1.0 / width.sqrt()),
        causal: options.causal,
        masked: options.mask.is_some(),
        dropout: options.dropout.filter(|d| d.rate > 0.0),
    };
    x.apply(Op::Attention(op), &inputs)
}
