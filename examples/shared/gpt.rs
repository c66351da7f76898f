//! A small GPT, for examples, benches, tests and `cargo xtask plan`.

use gradus_graph::{Layer, Scope, Var};
use gradus_nn::{Dense, Embedding, LayerNorm, LearnedPositions, TransformerEncoderLayer};

/// A decoder of tokens `[B, T]` with the norms first, as GPT-2: scores of the next one,
/// `[B, T, tokens]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gpt {
    pub(crate) tokens: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    /// The longest sequence, whatever the length of `T`: a network that generates is shown parts.
    pub(crate) positions: usize,
    /// Whether the backward pass computes the layers again.
    pub(crate) checkpoint: bool,
}

impl Layer for Gpt {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let x = scope.apply("tokens", &Embedding::new(self.tokens, self.width), x);
        let mut x = scope.apply("positions", &LearnedPositions::new(self.positions), x);
        let layer = TransformerEncoderLayer::new(self.heads).causal();
        for i in 0..self.layers {
            let (layers, name) = (scope.child("layers"), i.to_string());
            let apply = || layers.apply(&name, &layer, x);
            x = if self.checkpoint {
                scope.checkpoint(apply)
            } else {
                apply()
            };
        }
        let x = scope.apply("norm", &LayerNorm::new(), x);
        scope.apply("head", &Dense::new(self.tokens).no_bias(), x)
    }
}
