//! Attention: the op, its shape rule and its gradient.

mod expand;

use super::{Composite, Meta, Op};
use crate::{DType, DeviceClass, Shape, Target, Var};

/// The widest head that kernels hold in registers and workgroup memory.
const WIDEST: usize = 128;

/// An additive mask of this or less excludes, as −∞ does: not every device has an infinity, and two
/// such masks must have a sum.
pub const EXCLUDED: f32 = f32::MIN / 2.0;

/// Scaled dot-product attention, or something that its gradient needs: softmax of how well each
/// query matches the keys, as the weights of a mean of the values.
///
/// ```text
/// sᵢⱼ = scale · qᵢ·kⱼ + maskᵢⱼ      pᵢⱼ = exp(sᵢⱼ − lᵢ)      lᵢ = ln Σⱼ exp sᵢⱼ
/// yᵢ = Σⱼ pᵢⱼ vⱼ
/// ```
///
/// Queries are `[B, T, H, D]`, keys `[B, S, G, D]`, values `[B, S, G, E]`, each the heads
/// `first..first + count` of some input; query head `h` attends to key head `h / (H/G)`. The result
/// is `[B, T, H, E]`, `l` is `[B, H, T]`. The mask, the input after those, is bool, true where a
/// query may attend, or f32 and added; each of its axes `[B, H, T, S]` may be 1. A key whose additive
/// mask is below half the lowest f32 is excluded. A query without keys has the result 0.
///
/// Its kernels keep the matrix of weights out of memory. Where they have no room it is expanded into
/// products and a softmax: on a GPU for heads that are wider than 128, on a software device also for
/// more keys or queries than its loops may have steps.
///
/// Sources: Vaswani et al. (2017), arXiv:1706.03762; Dao et al. (2022), arXiv:2205.14135; grouped
/// queries: Ainslie et al. (2023), arXiv:2305.13245.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// What of it is computed.
    pub part: AttentionPart,
    /// Where the queries are.
    pub q: Heads,
    /// Where the keys are.
    pub k: Heads,
    /// Where the values are.
    pub v: Heads,
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// Query `i` attends to keys `0..=i` only.
    pub causal: bool,
    /// Is there a mask?
    pub masked: bool,
    /// Drops some weights while training.
    pub dropout: Option<Dropout>,
}

/// Heads `first..first + count` of an input `[B, T, heads, D]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The input.
    pub input: usize,
    /// The first of its heads.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// Sets elements to 0 at this rate, and scales the others by `1/(1 − rate)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The stream of random bits.
    pub stream: u64,
    /// The share that is dropped.
    pub rate: f64,
}

impl Dropout {
    /// Elements whose upper 24 random bits are below this are dropped: exact in f32, so that the
    /// mask is the same in f32 and f64.
    pub fn threshold(&self) -> f64 {
        (self.rate * f64::from(1u32 << 24)).round()
    }

    /// What the others are multiplied by.
    pub fn scale(&self) -> f64 {
        1.0 / (1.0 - self.rate)
    }
}

/// What of an [`Attention`] a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionPart {
    /// The result `y`.
    Output,
    /// The logarithms `l`; 0 for a query without keys.
    LogSumExp,
    /// The gradient of this input. Its inputs are followed by `y`, `l` and `dy`.
    Gradient(usize),
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSizes {
    /// `B`
    pub batch: usize,
    /// `T`
    pub queries: usize,
    /// `S`
    pub keys: usize,
    /// `H`
    pub heads: usize,
    /// `G`
    pub groups: usize,
    /// `D`, of queries and keys.
    pub width: usize,
    /// `E`, of values.
    pub value_width: usize,
}

impl Attention {
    /// Inputs that queries, keys and values are in.
    pub fn sources(&self) -> usize {
        1 + self.q.input.max(self.k.input).max(self.v.input)
    }

    /// The input that follows sources and mask.
    pub fn first_of_gradient(&self) -> usize {
        self.sources() + usize::from(self.masked)
    }

    /// The number of the mask among the inputs.
    pub fn mask(&self) -> Option<usize> {
        self.masked.then(|| self.sources())
    }

    /// What of queries, keys and values is in an input, in the order of its heads.
    fn parts_of(&self, input: usize) -> Vec<(usize, Heads)> {
        let all = [self.q, self.k, self.v].into_iter().enumerate();
        let mut parts: Vec<_> = all.filter(|(_, h)| h.input == input).collect();
        parts.sort_by_key(|(_, h)| h.first);
        parts
    }

    /// The sizes for inputs that have passed `infer`.
    pub fn sizes(&self, shape: impl Fn(usize) -> Shape) -> AttentionSizes {
        let [q, k, v] = [self.q, self.k, self.v].map(|h| shape(h.input));
        AttentionSizes {
            batch: q[0],
            queries: q[1],
            keys: k[1],
            heads: self.q.count,
            groups: self.k.count,
            width: q[3],
            value_width: v[3],
        }
    }

    /// Is there a kernel for it, that keeps the matrix of weights out of memory, and faster than
    /// what it is made of?
    pub(crate) fn is_fused(&self, inputs: &[Meta], target: &Target) -> bool {
        let s = self.sizes(|i| inputs[i].shape);
        let some = [s.batch, s.queries, s.keys, s.heads, s.width, s.value_width];
        let of_mask = matches!(self.part, AttentionPart::Gradient(i) if i >= self.sources());
        let widest = match target.class {
            DeviceClass::Cpu => usize::MAX,
            DeviceClass::Gpu | DeviceClass::Software => WIDEST,
        };
        // A software device would stop the loop over longer rows.
        let longest = target.max_loop_trips.unwrap_or(usize::MAX);
        let weights = [s.batch, s.heads, s.queries, s.keys].map(|n| n as u64);
        let weights = weights.iter().product::<u64>().saturating_mul(4);
        !some.contains(&0)
            && !of_mask
            && weights > target.max_attention_bytes
            && s.width.max(s.value_width) <= widest
            && s.queries.max(s.keys) * (s.heads / s.groups) <= longest
    }
}

impl Composite for Attention {
    fn name(&self) -> &'static str {
        match self.part {
            AttentionPart::Output => "attention",
            AttentionPart::LogSumExp => "attention_log_sum",
            AttentionPart::Gradient(_) => "attention_grad",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta, String> {
        let gradient = matches!(self.part, AttentionPart::Gradient(_));
        let count = self.first_of_gradient() + if gradient { 3 } else { 0 };
        if inputs.len() != count {
            return Err(format!("expected {count} inputs, found {}", inputs.len()));
        }
        let sources = &inputs[..self.sources()];
        if let Some(x) = sources
            .iter()
            .find(|x| x.dtype != DType::F32 || x.shape.rank() != 4)
        {
            return Err(format!(
                "expected f32 [B, T, heads, width], found {} {}",
                x.dtype, x.shape
            ));
        }
        for (i, x) in sources.iter().enumerate() {
            let parts = self.parts_of(i);
            let mut next = 0;
            for (_, heads) in &parts {
                if heads.first != next {
                    return Err(format!("heads of {} are used twice or not at all", x.shape));
                }
                next += heads.count;
            }
            if next != x.shape[2] {
                return Err(format!(
                    "{} has {} heads, but {next} are expected",
                    x.shape, x.shape[2]
                ));
            }
        }
        let [q, k, v] = [self.q, self.k, self.v].map(|h| sources[h.input].shape);
        let s = self.sizes(|i| sources[i].shape);
        if q[0] != k[0] || k[..2] != v[..2] {
            return Err(format!(
                "queries {q}, keys {k} and values {v} must agree on the batch, keys and values \
                 on their number"
            ));
        }
        if q[3] != k[3] {
            return Err(format!(
                "queries {q} and keys {k} have heads of different width"
            ));
        }
        if self.v.count != s.groups {
            return Err(format!(
                "{} heads of keys, but {} of values",
                s.groups, self.v.count
            ));
        }
        if s.groups == 0 || !s.heads.is_multiple_of(s.groups) {
            return Err(format!(
                "{} query heads cannot share {} key heads evenly",
                s.heads, s.groups
            ));
        }
        if let Some(i) = self.mask() {
            let mask = inputs[i];
            let full = [s.batch, s.heads, s.queries, s.keys];
            let fits = mask.shape.rank() == 4
                && mask.shape.iter().zip(full).all(|(&m, f)| m == 1 || m == f);
            if !fits || !matches!(mask.dtype, DType::Bool | DType::F32) {
                return Err(format!(
                    "a mask must be bool or f32 and broadcast to {full:?}, found {} {}",
                    mask.dtype, mask.shape
                ));
            }
        }
        let y = Shape::try_new(&[s.batch, s.queries, s.heads, s.value_width]);
        let y = y.ok_or("the result is too large")?;
        let rows = Shape::of(&[s.batch, s.heads, s.queries]);
        if gradient {
            let first = self.first_of_gradient();
            for (i, shape) in [(0, y), (1, rows), (2, y)] {
                if inputs[first + i] != Meta::new(shape, DType::F32) {
                    let found = inputs[first + i];
                    return Err(format!(
                        "expected f32 {shape}, found {} {}",
                        found.dtype, found.shape
                    ));
                }
            }
        }
        match self.part {
            AttentionPart::Output => Ok(Meta::new(y, DType::F32)),
            AttentionPart::LogSumExp => Ok(Meta::new(rows, DType::F32)),
            AttentionPart::Gradient(i) if i < self.first_of_gradient() => Ok(inputs[i]),
            AttentionPart::Gradient(i) => Err(format!("input {i} has no gradient here")),
        }
    }

    fn expand<'g>(&self, x: &[Var<'g>]) -> Var<'g> {
        expand::expand(self, x)
    }

    /// With `δᵢ = yᵢ·dyᵢ` and `dpᵢⱼ = dyᵢ·vⱼ`: `dsᵢⱼ = pᵢⱼ (dpᵢⱼ − δᵢ)`, `dq = scale · ds k`,
    /// `dk = scale · dsᵀ q`, `dv = pᵀ dy`; `ds` is also that of an additive mask.
    fn vjp<'g>(&self, x: &[Var<'g>], y: Var<'g>, dy: Var<'g>) -> Vec<Option<Var<'g>>> {
        if self.part != AttentionPart::Output {
            return crate::grad::vjp(self.expand(x), dy, x);
        }
        let part = |part| {
            Op::Attention(Self {
                part,
                ..self.clone()
            })
        };
        let l = x[0].apply(part(AttentionPart::LogSumExp), &x[1..]);
        let rest = [&x[1..], &[y, l, dy]].concat();
        let of = |i: usize| x[0].apply(part(AttentionPart::Gradient(i)), &rest);
        let inputs = x.iter().enumerate();
        inputs
            .map(|(i, x)| x.dtype().is_float().then(|| of(i)))
            .collect()
    }
}
