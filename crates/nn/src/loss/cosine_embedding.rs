//! Which pairs of vectors are to point the same way.

use gradus_graph::{Graph, Scope, Var};

use super::{Reduction, comparable, numbers, poisoned, vectors};

/// Added to squares of lengths, so that a vector of zeros has a direction; PyTorch's.
const EPS: f64 = 1e-12;

/// Loss of pairs of vectors that are to point the same way (target 1) or not (−1).
///
/// ```text
/// mean  1 − cos(a, b)              where t = 1
///       max(cos(a, b) − margin, 0) where t = −1      cos = a·b / √((‖a‖² + ε) (‖b‖² + ε)), ε = 10⁻¹²
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CosineEmbedding {
    reduction: Reduction,
    margin: f64,
}

impl CosineEmbedding {
    /// The mean over all pairs, with a margin of 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cosine below which a pair that is to differ counts nothing, in [−1, 1]; 0 unless set.
    #[must_use]
    pub const fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// The loss of vectors `[B, C]` (or `[C]`) and targets `[B]` (or `[]`), `f32` or `i32`.
    ///
    /// Other shapes or dtypes are a mistake that `Graph::check` reports.
    #[track_caller]
    pub fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        first: Var<'g>,
        second: Var<'g>,
        target: Var<'g>,
    ) -> Var<'g> {
        let t = match self.check(scope.graph(), [first, second, target]) {
            Ok(t) => t,
            Err(poison) => return poison,
        };
        let dot = |a: Var<'g>, b: Var<'g>| (a * b).sum(&[-1]);
        let along = dot(first, second);
        let lengths = (dot(first, first) + EPS) * (dot(second, second) + EPS);
        let cosine = along / lengths.sqrt();
        let alike = t.eq(1.0).select(1.0 - cosine, 0.0);
        let other = t.eq(-1.0).select((cosine - self.margin).relu(), 0.0);
        self.reduction.of(alike + other)
    }

    /// The targets as numbers.
    #[track_caller]
    fn check<'g>(
        &self,
        graph: &'g Graph,
        [first, second, target]: [Var<'g>; 3],
    ) -> Result<Var<'g>, Var<'g>> {
        let name = "cosine_embedding";
        poisoned(&[first, second, target])?;
        comparable(graph, name, first, second)?;
        if !(-1.0..=1.0).contains(&self.margin) {
            let found = self.margin;
            return Err(graph.fail(name, format!("margin must be in [-1, 1], found {found}")));
        }
        vectors(graph, name, first)?;
        numbers(graph, name, &first.shape()[..first.rank() - 1], target)
    }
}

reduced!(CosineEmbedding);
