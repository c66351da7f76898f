//! Which of two vectors is to be nearer to a third.

use gradus_graph::{Graph, Scope, Var};

use super::{Reduction, at_least, comparable, poisoned, vectors};

/// Added to differences, so that a distance of 0 has a gradient; PyTorch's.
const EPS: f64 = 1e-6;

/// Loss of triplets: the positive is to be nearer to the anchor than the negative, by a margin.
///
/// ```text
/// mean  max(d(a, p) − d(a, n) + margin, 0)      d(x, y) = (Σ |x − y + ε|^p)^(1/p), ε = 10⁻⁶
/// ```
///
/// Source: Balntas, Riba, Ponsa & Mikolajczyk (2016), doi:10.5244/C.30.119.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripletMargin {
    reduction: Reduction,
    margin: f64,
    norm: f64,
    swap: bool,
}

impl Default for TripletMargin {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            margin: 1.0,
            norm: 2.0,
            swap: false,
        }
    }
}

impl TripletMargin {
    /// The mean over all triplets, with a margin of 1 and Euclidean distances.
    pub fn new() -> Self {
        Self::default()
    }

    /// By how much the positive is to be nearer, > 0.
    #[must_use]
    pub const fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// The `p` of the distance, ≥ 1; 2 unless set.
    #[must_use]
    pub const fn norm(mut self, p: f64) -> Self {
        self.norm = p;
        self
    }

    /// The negative is as far as from the nearer of anchor and positive.
    #[must_use]
    pub const fn swap(mut self) -> Self {
        self.swap = true;
        self
    }

    /// The loss of vectors `[B, C]` (or `[C]`), all `f32` of one shape.
    ///
    /// Other shapes or dtypes are a mistake that `Graph::check` reports.
    #[track_caller]
    pub fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        anchor: Var<'g>,
        positive: Var<'g>,
        negative: Var<'g>,
    ) -> Var<'g> {
        if let Err(poison) = self.check(scope.graph(), [anchor, positive, negative]) {
            return poison;
        }
        let near = self.distance(anchor, positive);
        let far = self.distance(anchor, negative);
        let far = match self.swap {
            true => far.minimum(self.distance(positive, negative)),
            false => far,
        };
        self.reduction.of((near - far + self.margin).relu())
    }

    #[track_caller]
    fn check<'g>(&self, graph: &'g Graph, vars: [Var<'g>; 3]) -> Result<(), Var<'g>> {
        let name = "triplet_margin";
        poisoned(&vars)?;
        let [anchor, positive, negative] = vars;
        comparable(graph, name, anchor, positive)?;
        comparable(graph, name, anchor, negative)?;
        at_least(graph, name, "margin", self.margin, f64::MIN_POSITIVE)?;
        at_least(graph, name, "the norm", self.norm, 1.0)?;
        vectors(graph, name, anchor)
    }

    fn distance<'g>(&self, x: Var<'g>, y: Var<'g>) -> Var<'g> {
        let d = x - y + EPS;
        match self.norm {
            1.0 => d.abs().sum(&[-1]),
            2.0 => d.square().sum(&[-1]).sqrt(),
            p => d.abs().pow(p).sum(&[-1]).pow(1.0 / p),
        }
    }
}

reduced!(TripletMargin);
