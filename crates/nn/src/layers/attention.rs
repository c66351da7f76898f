//! Multi-head attention.

use std::sync::Arc;

use gradus_graph::{AttentionOptions, DType, Decoding, Init, Layer, Scope, Var};

use super::position::{Rotary, sequence};
use crate::Dense;
use crate::init::{Shared, XavierUniform, Zeros};

/// Multi-head attention of a sequence to itself, or to another one: `[B, T, C] -> [B, T, C]`.
///
/// ```text
/// q, k, v = x Wᵀ + b      yₕ = softmax(qₕ kₕᵀ / √D + mask) vₕ      y = concat(yₕ) Wₒᵀ + bₒ
/// ```
///
/// As a [`Layer`] it attends to itself; [`MultiHeadAttention::attend`] takes masks and another
/// sequence. Parameters `in_proj_weight` `[(H + 2G)·D, C]` and `in_proj_bias`, queries, keys and
/// values one after the other; `out_proj.weight` `[C, H·D]` and `out_proj.bias`: PyTorch's names.
/// Weights start as Glorot uniform, biases at 0. A query without any key gives 0 where PyTorch gives
/// NaN.
///
/// Where a sequence is decoded token by token ([`Scope::decoding`]) it must be
/// [`MultiHeadAttention::causal`] without masks; keys and values of earlier tokens are kept, those of
/// another sequence are computed once.
///
/// Sources: Vaswani et al. (2017), arXiv:1706.03762; grouped queries: Ainslie et al. (2023),
/// arXiv:2305.13245.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    heads: usize,
    groups: Option<usize>,
    head_width: Option<usize>,
    causal: bool,
    dropout: f64,
    bias: bool,
    rotary: Option<Rotary>,
    weight: Arc<dyn Init>,
}

/// What a [`MultiHeadAttention`] attends to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attend<'g> {
    memory: Option<Var<'g>>,
    mask: Option<Var<'g>>,
    keys: Option<Var<'g>>,
}

impl<'g> Attend<'g> {
    /// All of the sequence itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another sequence `[B, S, C]`, an encoder's result for example.
    #[must_use]
    pub const fn memory(mut self, memory: Var<'g>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// A mask that broadcasts to `[B, H, T, S]`: bool, true where a query may attend (PyTorch's
    /// modules mean the opposite, its functions the same), or f32, added to the scores.
    #[must_use]
    pub const fn mask(mut self, mask: Var<'g>) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Only tokens of the same document, for rows that hold several: integers `[B, T]`, one for each
    /// document of a row. Takes the place of another mask.
    #[must_use]
    #[track_caller]
    pub fn documents(self, documents: Var<'g>) -> Self {
        if documents.is_poisoned() {
            return self.mask(documents);
        }
        let (shape, dtype) = (documents.shape(), documents.dtype());
        if !dtype.is_int() || shape.rank() != 2 {
            let message = format!("documents must be i32 or u32 [B, T], found {dtype} {shape}");
            return self.mask(documents.graph().fail("documents", message));
        }
        // A mask has an axis of heads.
        let [rows, columns] = [[shape[0], 1, shape[1], 1], [shape[0], 1, 1, shape[1]]];
        let same = documents.reshape(rows).eq(documents.reshape(columns));
        self.mask(same)
    }

    /// Which keys there are: bool `[B, S]`, false for padding.
    #[must_use]
    pub const fn keys(mut self, keys: Var<'g>) -> Self {
        self.keys = Some(keys);
        self
    }
}

impl MultiHeadAttention {
    /// So many heads, which divide the features; no mask, no dropout.
    pub fn new(heads: usize) -> Self {
        Self {
            heads,
            groups: None,
            head_width: None,
            causal: false,
            dropout: 0.0,
            bias: true,
            rotary: None,
            weight: Arc::new(XavierUniform::new()),
        }
    }

    /// Heads of keys and values, each shared by as many query heads; as many as query heads unless
    /// set. 1 is multi-query attention.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = Some(groups);
        self
    }

    /// The width of a head; features by heads unless set.
    #[must_use]
    pub const fn head_width(mut self, width: usize) -> Self {
        self.head_width = Some(width);
        self
    }

    /// A position attends to itself and those before only.
    #[must_use]
    pub const fn causal(mut self) -> Self {
        self.causal = true;
        self
    }

    /// Drops weights at this rate while training.
    #[must_use]
    pub const fn dropout(mut self, rate: f64) -> Self {
        self.dropout = rate;
        self
    }

    /// Turns queries and keys by their position.
    #[must_use]
    pub const fn rotary(mut self, rotary: Rotary) -> Self {
        self.rotary = Some(rotary);
        self
    }

    /// Leaves out all biases.
    #[must_use]
    pub const fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// How all weights start.
    #[must_use]
    pub fn weight_init(mut self, init: impl Init + 'static) -> Self {
        self.weight = Arc::new(init);
        self
    }

    /// Attends as told; `[B, T, C] -> [B, T, C]`.
    #[track_caller]
    pub fn attend<'g>(&self, scope: &Scope<'g>, x: Var<'g>, to: Attend<'g>) -> Var<'g> {
        let inputs = [Some(x), to.memory, to.mask, to.keys];
        if let Some(bad) = inputs.into_iter().flatten().find(Var::is_poisoned) {
            return bad;
        }
        match self.try_attend(scope, x, to) {
            Ok(y) => y,
            Err(message) => scope.graph().fail("multi_head_attention", message),
        }
    }

    #[track_caller]
    fn try_attend<'g>(
        &self,
        scope: &Scope<'g>,
        x: Var<'g>,
        to: Attend<'g>,
    ) -> Result<Var<'g>, String> {
        sequence(x)?;
        let (features, groups) = (x.dim(2), self.groups.unwrap_or(self.heads));
        if self.heads == 0 || groups == 0 || !self.heads.is_multiple_of(groups) {
            return Err(format!(
                "{} query heads cannot share {groups} key heads evenly",
                self.heads
            ));
        }
        let width = match self.head_width {
            Some(width) => width,
            None if features.is_multiple_of(self.heads) => features / self.heads,
            None => {
                return Err(format!(
                    "{} heads do not divide the {features} features of {}",
                    self.heads,
                    x.shape()
                ));
            }
        };
        if width == 0 {
            return Err(format!("heads of {} have no width", x.shape()));
        }
        let memory = to.memory.unwrap_or(x);
        if memory.rank() != 3 || memory.dim(0) != x.dim(0) || memory.dim(2) != features {
            return Err(format!(
                "a sequence {} cannot attend to {}: batch and features must agree",
                x.shape(),
                memory.shape()
            ));
        }
        let options = self.options(scope, x, memory, to)?;
        let all = self.heads + 2 * groups;
        let weight = Shared(Arc::clone(&self.weight));
        let weight = scope.param("in_proj_weight", [all * width, features], weight);
        let bias = self
            .bias
            .then(|| scope.param("in_proj_bias", all * width, Zeros));
        // Heads from the first on, of a sequence: [B, length, count, width].
        let project = |x: Var<'g>, first: usize, count: usize| {
            let (from, until) = (first * width, (first + count) * width);
            let some = |v: Var<'g>| match count == all {
                true => v,
                false => v.slice_axis(0, from, until),
            };
            let y = x.matmul(some(weight).transpose());
            let y = bias.map_or(y, |bias| y + some(bias));
            y.reshape([x.dim(0), x.dim(1), count, width])
        };
        let cache = |name, positions| {
            let shape = [x.dim(0), positions, 2 * groups, width];
            scope.cache(name, shape, DType::F32)
        };
        let y = match (to.memory, scope.decoding(x)) {
            (None, None) => self
                .turned(scope, project(x, 0, all), self.heads + groups)
                .self_attention(self.heads, groups, &options),
            (None, Some(decoding)) => {
                self.check_decoded(x, to, decoding)?;
                let heads = self.turned(scope, project(x, 0, all), self.heads + groups);
                let new = heads.slice_axis(2, self.heads, all);
                let kept = decoding.write(cache("keys_values", decoding.capacity()), new);
                match decoding.begins() {
                    true => heads.self_attention(self.heads, groups, &options),
                    false => {
                        let options = options.causal(false).mask(decoding.visible());
                        let q = heads.slice_axis(2, 0, self.heads);
                        q.cross_attention(kept, &options)
                    }
                }
            }
            (Some(memory), decoding) => {
                let q = self.turned(scope, project(x, 0, self.heads), self.heads);
                let computed =
                    || self.turned(scope, project(memory, self.heads, 2 * groups), groups);
                let kv = match decoding {
                    None => computed(),
                    Some(decoding) => {
                        self.check_memory(scope, memory)?;
                        let cache = cache("memory", memory.dim(1));
                        // What is attended to stays the same: computed once.
                        if decoding.begins() {
                            decoding.keep(cache, computed());
                        }
                        scope.latest(cache)
                    }
                };
                q.cross_attention(kv, &options)
            }
        };
        let y = y.reshape([x.dim(0), x.dim(1), self.heads * width]);
        let out = Dense::new(features).weight_init(Shared(Arc::clone(&self.weight)));
        let out = if self.bias { out } else { out.no_bias() };
        Ok(scope.apply("out_proj", &out, y))
    }

    /// Heads `[B, T, heads, D]`, the first of them turned by their positions.
    #[track_caller]
    fn turned<'g>(&self, scope: &Scope<'g>, heads: Var<'g>, first: usize) -> Var<'g> {
        let Some(rotary) = self.rotary else {
            return heads;
        };
        let all = heads.dim(2);
        let some = heads.slice_axis(2, 0, first);
        let some = match scope.decoding(heads).filter(|d| !d.begins()) {
            Some(decoding) => rotary.rotate_at(some, decoding),
            None => rotary.rotate(some),
        };
        match first == all {
            true => some,
            false => some.concat(&[heads.slice_axis(2, first, all)], 2),
        }
    }

    /// What attention to itself must be to be decoded token by token.
    fn check_decoded(
        &self,
        x: Var<'_>,
        to: Attend<'_>,
        decoding: &Decoding<'_>,
    ) -> Result<(), String> {
        if !self.causal {
            return Err(
                "a sequence that is decoded token by token has no later tokens to attend to: make \
                 the attention causal"
                    .into(),
            );
        }
        if to.mask.is_some() || to.keys.is_some() {
            return Err("a sequence that is decoded token by token takes no masks".into());
        }
        match x.dim(1) == decoding.length() {
            true => Ok(()),
            false => Err(format!(
                "{} tokens are decoded, but the sequence is {}",
                decoding.length(),
                x.shape()
            )),
        }
    }

    /// The same of attention to another sequence.
    fn check_memory<'g>(&self, scope: &Scope<'g>, memory: Var<'g>) -> Result<(), String> {
        let problem = match scope.decoding(memory) {
            Some(_) => "depends on the tokens that are decoded",
            None if self.causal => "is attended to causally",
            None => return Ok(()),
        };
        Err(format!(
            "while tokens are decoded one by one, another sequence must stay the same, but it {problem}"
        ))
    }

    fn options<'g>(
        &self,
        scope: &Scope<'g>,
        x: Var<'g>,
        memory: Var<'g>,
        to: Attend<'g>,
    ) -> Result<AttentionOptions<'g>, String> {
        let mut options = AttentionOptions::new().causal(self.causal);
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!(
                "a rate must be at least 0 and below 1, found {}",
                self.dropout
            ));
        }
        if scope.training() && self.dropout > 0.0 {
            options = options.dropout(scope.stream(), self.dropout);
        }
        let [batch, length, keys] = [x.dim(0), x.dim(1), memory.dim(1)];
        if let Some(mask) = to.mask {
            let full = [batch, self.heads, length, keys];
            let missing = 4usize.saturating_sub(mask.rank());
            let shape = mask.shape();
            let mut sizes = shape.iter().zip(full.iter().skip(missing));
            if mask.rank() > 4 || !sizes.all(|(&m, &f)| m == 1 || m == f) {
                return Err(format!(
                    "a mask must broadcast to [B, H, T, S] = {full:?}, found {}",
                    mask.shape()
                ));
            }
            options = options.mask(mask);
        }
        if let Some(present) = to.keys {
            if present.dtype() != DType::Bool || present.shape()[..] != [batch, keys] {
                return Err(format!(
                    "which keys there are must be bool [{batch}, {keys}], found {} {}",
                    present.dtype(),
                    present.shape()
                ));
            }
            options = options.mask(present.reshape([batch, 1, 1, keys]));
        }
        Ok(options)
    }
}

impl Layer for MultiHeadAttention {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.attend(scope, x, Attend::new())
    }
}
