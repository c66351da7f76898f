//! Which of two is to be larger.

use gradus_graph::{Graph, Scope, Var};

use super::{Reduction, comparable, numbers, poisoned};

/// Loss of pairs of scores of which one is to be larger: the first where the target is 1, the
/// second where it is −1.
///
/// ```text
/// mean  max(margin − t · (a − b), 0)
/// ```
///
/// Source: Burges et al. (2005), doi:10.1145/1102351.1102363, with a hinge.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MarginRanking {
    reduction: Reduction,
    margin: f64,
}

impl MarginRanking {
    /// The mean over all pairs, with a margin of 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// By how much the larger one is to lead; 0 unless set.
    #[must_use]
    pub const fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// The loss of scores `[B, …]` and targets of the same shape, `f32` or `i32`.
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
        match check(scope.graph(), [first, second, target]) {
            Ok(t) => self
                .reduction
                .of((-(t * (first - second)) + self.margin).relu()),
            Err(poison) => poison,
        }
    }
}

reduced!(MarginRanking);

/// The targets as numbers.
#[track_caller]
fn check<'g>(graph: &'g Graph, [first, second, target]: [Var<'g>; 3]) -> Result<Var<'g>, Var<'g>> {
    poisoned(&[first, second, target])?;
    comparable(graph, "margin_ranking", first, second)?;
    numbers(graph, "margin_ranking", &first.shape(), target)
}
