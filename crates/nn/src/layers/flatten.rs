//! All axes but the batch as one.

use gradus_graph::{Layer, Scope, Var};

/// Makes one axis of all axes but the batch: `[B, …] -> [B, N]`, row-major.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten;

impl Layer for Flatten {
    fn forward<'g>(&self, _: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        if x.is_poisoned() { x } else { x.flatten(1) }
    }
}
