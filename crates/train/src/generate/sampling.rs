//! Which token comes next.

use gradus_graph::{DType, Scope, Var};

/// How a token is chosen from scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Choice {
    /// The highest score.
    Greedy,
    /// Drawn among all.
    Drawn,
    /// Drawn among the likely ones: one plan for all `top_k` and `top_p`.
    DrawnAmongLikely,
}

/// One over the temperature, `f32` `[1]`.
pub(super) const SHARPNESS: &str = "generate/sharpness";
/// How many tokens may be drawn, `i32` `[1]`.
pub(super) const TOP_K: &str = "generate/top_k";
/// The probability up to which tokens may be drawn, `f32` `[1]`.
pub(super) const TOP_P: &str = "generate/top_p";

impl Choice {
    /// The token for each row of scores `[B, V]`, `i32` `[B]`.
    pub(super) fn of<'g>(self, scope: &Scope<'g>, logits: Var<'g>) -> Var<'g> {
        let graph = scope.graph();
        let setting = |name, dtype| graph.input(name, [1], dtype);
        let noise = || gumbel(&scope.child("generate"), logits);
        match self {
            Self::Greedy => logits.argmax(-1),
            Self::Drawn => {
                let scores = logits - logits.max_keep(&[-1]);
                (scores * setting(SHARPNESS, DType::F32) + noise()).argmax(-1)
            }
            Self::DrawnAmongLikely => {
                let (sorted, tokens) = logits.sort_descending(-1);
                let scores = sorted - sorted.narrow(-1, 0, 1);
                let scores = scores * setting(SHARPNESS, DType::F32);
                let rank = graph.iota(logits.shape(), 1);
                let among = rank.lt(setting(TOP_K, DType::I32));
                let scores = among.select(scores, f32::MIN);
                let share = scores.softmax();
                let before = share.cumsum(-1) - share;
                // The first has nothing before it.
                let likely = before.lt(setting(TOP_P, DType::F32)).or(rank.eq(0));
                let drawn = likely.and(among).select(scores + noise(), f32::MIN);
                let place = drawn.argmax(-1).unsqueeze(-1);
                tokens.take_along_axis(place, -1).squeeze(&[-1])
            }
        }
    }
}

/// `−ln(−ln u)` of uniform numbers `u` between 0 and 1: scores with this added are largest where a
/// draw from their softmax falls.
///
/// `u` is near 1 where the result is large, so `1 − u` is made: from 32 bits it has all digits of an
/// f32 there.
fn gumbel<'g>(scope: &Scope<'g>, like: Var<'g>) -> Var<'g> {
    let bits = scope.random(like.shape()).cast(DType::F32);
    let rest = (bits + 0.5) * (-32f64).exp2();
    let rest = rest.minimum(1.0 - f64::from(f32::EPSILON));
    -(-(-rest).log1p()).log()
}
