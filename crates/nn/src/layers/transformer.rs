//! Layers of transformers.

use gradus_graph::{Layer, Scope, Var};

use super::{Activation, Attend, Dense, LayerNorm, MultiHeadAttention};

/// Attention to itself and two dense layers for each position, both with a residual:
/// `[B, T, C] -> [B, T, C]`.
///
/// ```text
/// x = x + attention(norm1(x))      y = x + W₂ f(W₁ norm2(x))
/// ```
///
/// The norms come first (pre-norm), unless [`TransformerEncoderLayer::norm_last`]. With
/// [`TransformerEncoderLayer::causal`] it is the layer of a GPT. Parameters as in PyTorch:
/// `self_attn.in_proj_weight`…, `linear1`, `linear2`, `norm1`, `norm2`.
///
/// Sources: Vaswani et al. (2017), arXiv:1706.03762; Xiong et al. (2020), arXiv:2002.04745.
#[derive(Clone, Debug)]
pub struct TransformerEncoderLayer(Block);

/// As [`TransformerEncoderLayer`], with an attention to another sequence in between:
/// `self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1`, `norm2`, `norm3`. What it attends to
/// is given to [`TransformerDecoderLayer::decode`]. Always causal.
#[derive(Clone, Debug)]
pub struct TransformerDecoderLayer(Block);

#[derive(Clone, Debug)]
struct Block {
    attention: MultiHeadAttention,
    cross: MultiHeadAttention,
    hidden: Option<usize>,
    activation: Activation,
    dropout: f64,
    norm_first: bool,
}

macro_rules! settings {
    ($($name:ident),*) => {$(
        impl $name {
            /// The width of the hidden layer; four times the features unless set.
            #[must_use]
            pub const fn hidden(mut self, hidden: usize) -> Self {
                self.0.hidden = Some(hidden);
                self
            }

            /// The activation of the hidden layer; GELU unless set.
            #[must_use]
            pub const fn activation(mut self, activation: Activation) -> Self {
                self.0.activation = activation;
                self
            }

            /// Drops elements of both branches and weights of the attention at this rate while
            /// training.
            #[must_use]
            pub fn dropout(mut self, rate: f64) -> Self {
                self.0.dropout = rate;
                self.0.attention = self.0.attention.dropout(rate);
                self.0.cross = self.0.cross.dropout(rate);
                self
            }

            /// Normalizes after each residual sum, as the first transformers did.
            #[must_use]
            pub const fn norm_last(mut self) -> Self {
                self.0.norm_first = false;
                self
            }

            /// Another attention to itself: grouped, rotary, without bias…
            #[must_use]
            pub fn attention(mut self, attention: MultiHeadAttention) -> Self {
                self.0.attention = attention;
                self
            }
        }
    )*};
}

settings!(TransformerEncoderLayer, TransformerDecoderLayer);

impl TransformerEncoderLayer {
    /// So many heads, which divide the features.
    pub fn new(heads: usize) -> Self {
        Self(Block::new(heads))
    }

    /// A position attends to itself and those before only.
    #[must_use]
    pub fn causal(mut self) -> Self {
        self.0.attention = self.0.attention.causal();
        self
    }

    /// Applies it with masks.
    #[track_caller]
    pub fn encode<'g>(&self, scope: &Scope<'g>, x: Var<'g>, to: Attend<'g>) -> Var<'g> {
        let x = self.0.attended(scope, x, to);
        self.0.fed(scope, "norm2", x)
    }
}

impl TransformerDecoderLayer {
    /// So many heads, which divide the features.
    pub fn new(heads: usize) -> Self {
        let block = Block::new(heads);
        Self(Block {
            attention: block.attention.causal(),
            ..block
        })
    }

    /// Decodes `[B, T, C]`, attending to itself as `to_itself` says, and to another sequence as
    /// `to_memory` does.
    #[track_caller]
    pub fn decode<'g>(
        &self,
        scope: &Scope<'g>,
        x: Var<'g>,
        to_itself: Attend<'g>,
        to_memory: Attend<'g>,
    ) -> Var<'g> {
        let block = &self.0;
        let x = block.attended(scope, x, to_itself);
        let x = block.residual(scope, "norm2", x, |x| {
            block
                .cross
                .attend(&scope.child("multihead_attn"), x, to_memory)
        });
        block.fed(scope, "norm3", x)
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        self.encode(scope, x, Attend::new())
    }
}

impl Block {
    fn new(heads: usize) -> Self {
        Self {
            attention: MultiHeadAttention::new(heads),
            cross: MultiHeadAttention::new(heads),
            hidden: None,
            activation: Activation::Gelu,
            dropout: 0.0,
            norm_first: true,
        }
    }

    #[track_caller]
    fn attended<'g>(&self, scope: &Scope<'g>, x: Var<'g>, to: Attend<'g>) -> Var<'g> {
        self.residual(scope, "norm1", x, |x| {
            self.attention.attend(&scope.child("self_attn"), x, to)
        })
    }

    fn fed<'g>(&self, scope: &Scope<'g>, norm: &str, x: Var<'g>) -> Var<'g> {
        let features = x.dim(-1);
        let hidden = self.hidden.unwrap_or(4 * features);
        self.residual(scope, norm, x, |x| {
            let h = scope.apply("linear1", &Dense::new(hidden), x);
            let h = self.activation.of(h);
            let h = scope.dropout(h, self.dropout);
            scope.apply("linear2", &Dense::new(features), h)
        })
    }

    fn residual<'g>(
        &self,
        scope: &Scope<'g>,
        norm: &str,
        x: Var<'g>,
        branch: impl FnOnce(Var<'g>) -> Var<'g>,
    ) -> Var<'g> {
        let normalized = |x| scope.apply(norm, &LayerNorm::new(), x);
        let dropped = |y| scope.dropout(y, self.dropout);
        match self.norm_first {
            true => x + dropped(branch(normalized(x))),
            false => normalized(x + dropped(branch(x))),
        }
    }
}
