//! Layers that are computed again.

use gradus_graph::{Layer, Scope, Var};

/// A layer of which the backward pass computes again what it needs, instead of keeping it in memory
/// from the forward pass on: see [`Scope::checkpoint`]. Results and parameter paths are those of the
/// layer.
///
/// ```
/// # use gradus_nn::{Checkpoint, Sequential, TransformerEncoderLayer};
/// let layer = TransformerEncoderLayer::new(4).causal();
/// let net = Sequential::new()
///     .layer(Checkpoint::new(layer.clone()))
///     .layer(Checkpoint::new(layer));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<L> {
    layer: L,
}

impl<L: Layer> Checkpoint<L> {
    /// Has `layer` computed again.
    pub const fn new(layer: L) -> Self {
        Self { layer }
    }
}

impl<L: Layer> Layer for Checkpoint<L> {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        scope.checkpoint(|| self.layer.forward(scope, x))
    }
}
