//! Connectionist temporal classification.

use gradus_graph::{DType, Scope, Var};

use super::{Reduction, poisoned};

/// In place of the logarithm of 0: no sum of real logarithms comes near it.
const NEVER: f64 = -1e30;
/// Anything below is the logarithm of 0.
const HARDLY: f64 = -1e29;

/// Connectionist temporal classification: the negative logarithm of the probability that a
/// sequence of class probabilities, one distribution a frame, reads as a shorter sequence of
/// labels, when repetitions and then blanks are left out.
///
/// The forward recursion over frames, in logarithms, with the labels `l` of the target between
/// blanks:
///
/// ```text
/// α₀[0] = x₀[blank], α₀[1] = x₀[l₁]
/// αₜ[s] = xₜ[l_s] + log(e^αₜ₋₁[s] + e^αₜ₋₁[s−1] + e^αₜ₋₁[s−2])      the last unless l_s is blank or l_s₋₂
/// loss  = −log(e^α[2S] + e^α[2S−1])
/// ```
///
/// The mean divides each loss by the length of its target (1 if that is 0), then by the batch, as
/// PyTorch's does. A target that cannot be read from so few frames has a loss of 10³⁰ in place of
/// infinity, or of 0 with [`Ctc::zero_infinity`]. Every frame is a kernel or two.
///
/// Source: Graves, Fernández, Gomez & Schmidhuber (2006), doi:10.1145/1143844.1143891.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ctc {
    reduction: Reduction,
    blank: u32,
    zero_infinity: bool,
}

impl Ctc {
    /// The mean over all sequences; the blank is class 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The class of the blank; 0 unless set.
    #[must_use]
    pub const fn blank(mut self, class: u32) -> Self {
        self.blank = class;
        self
    }

    /// Targets that cannot be read count nothing.
    #[must_use]
    pub const fn zero_infinity(mut self) -> Self {
        self.zero_infinity = true;
        self
    }

    /// The loss of logarithms of probabilities `[B, T, C]`, as [`Var::log_softmax`] gives, and
    /// labels `[B, S]` (`i32` in `0..C`, none of them the blank), of which the first
    /// `label_lengths` count, in the first `frame_lengths` frames, both `i32` `[B]`.
    ///
    /// A label or length out of range makes the step an error; other shapes or dtypes are a
    /// mistake that `Graph::check` reports.
    #[track_caller]
    pub fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        log_probs: Var<'g>,
        labels: Var<'g>,
        frame_lengths: Var<'g>,
        label_lengths: Var<'g>,
    ) -> Var<'g> {
        let graph = scope.graph();
        let vars = [log_probs, labels, frame_lengths, label_lengths];
        if let Err(poison) = poisoned(&vars) {
            return poison;
        }
        let [x, l, f, n] = vars.map(|v| v.shape());
        let ints = vars[1..].iter().all(|v| v.dtype() == DType::I32);
        let &[batch, frames, classes] = &x[..] else {
            return graph.fail(
                "ctc",
                format!("needs log-probabilities [B, T, C], found {x}"),
            );
        };
        let lengths = f[..] == [batch] && n[..] == [batch];
        if log_probs.dtype() != DType::F32 || !ints || !lengths || l.rank() != 2 || l[0] != batch {
            let message = format!(
                "needs f32 log-probabilities [B, T, C], i32 labels [B, S] and i32 lengths [B] of \
                 frames and of labels; found {x}, {l}, {f} and {n}"
            );
            return graph.fail("ctc", message);
        }
        let blank = self.blank as usize;
        if blank >= classes {
            let message = format!("the blank must be one of {classes} classes, found {blank}");
            return graph.fail("ctc", message);
        }
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let frame_lengths = frame_lengths.check_index(size(frames + 1));
        let label_lengths = label_lengths.check_index(size(l[1] + 1));
        let target = Target::new(self.blank, classes, labels, label_lengths);
        let emitted = target.emitted(log_probs);
        let log = target.read(emitted, frame_lengths);
        let fails = log.lt(HARDLY);
        let losses = match self.zero_infinity {
            true => fails.select(0.0, -log),
            false => fails.select(-NEVER, -log),
        };
        if self.reduction != Reduction::Mean {
            return self.reduction.of(losses);
        }
        let lengths = label_lengths.maximum(1).cast(DType::F32);
        self.reduction.of(losses / lengths)
    }
}

reduced!(Ctc);

/// A target between blanks: `2 S + 1` places.
struct Target<'g> {
    /// The class of each place, `[B, 2 S + 1]`.
    classes: Var<'g>,
    /// 1 where the blank before may be left out.
    skips: Var<'g>,
    /// True for the places where reading may end.
    ends: Var<'g>,
}

impl<'g> Target<'g> {
    fn new(blank: u32, classes: usize, labels: Var<'g>, lengths: Var<'g>) -> Self {
        let graph = labels.graph();
        let shape = labels.shape();
        let (batch, most) = (shape[0], shape[1]);
        let per_row = |v: Var<'g>| v.reshape([batch, 1]);
        // What lies behind a target's end may be no class.
        let counts = graph.iota(shape, 1).lt(per_row(lengths));
        let blank = i32::try_from(blank).unwrap_or(i32::MAX);
        let labels = counts.select(labels, blank);
        let labels = labels.check_index(u32::try_from(classes).unwrap_or(u32::MAX));
        let differs = match most {
            0 | 1 => graph.full(shape, 0),
            _ => {
                let (before, after) = (
                    labels.slice_axis(1, 0, most - 1),
                    labels.slice_axis(1, 1, most),
                );
                let differs = before.ne(after).cast(DType::I32);
                differs.pad(&[0, 1], &[0, 0], 0)
            }
        };
        let places = 2 * most + 1;
        let between = |v: Var<'g>, value: i32| {
            let pairs = v
                .reshape([batch, most, 1])
                .pad(&[0, 0, 1], &[0, 0, 0], value);
            pairs
                .reshape([batch, 2 * most])
                .pad(&[0, 0], &[0, 1], value)
        };
        let place = graph.iota([batch, places], 1);
        let last = per_row(lengths) * 2;
        let before = last - 1;
        let ends = place.eq(last).cast(DType::I32) + place.eq(before).cast(DType::I32);
        Self {
            classes: between(labels, blank),
            skips: between(differs, 0),
            ends: ends.gt(0),
        }
    }

    /// The log-probability of each place's class in each frame: `[B, T, 2 S + 1]`.
    fn emitted(&self, log_probs: Var<'g>) -> Var<'g> {
        let graph = log_probs.graph();
        let (x, places) = (log_probs.shape(), self.classes.shape()[1]);
        let shape = [x[0], x[1], places];
        let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let row = graph.iota(shape, 0) * int(x[1]) + graph.iota(shape, 1);
        let class = self.classes.reshape([x[0], 1, places]);
        let index = row * int(x[2]) + class.expand(shape);
        log_probs.reshape(x.numel()).gather(index)
    }

    /// The logarithm of the probability of the target: `[B]`.
    fn read(&self, emitted: Var<'g>, frames: Var<'g>) -> Var<'g> {
        let graph = emitted.graph();
        let x = emitted.shape();
        let (batch, places) = (x[0], x[2]);
        let shape = [batch, places];
        // Before the first frame nothing is read.
        let mut alpha = graph.iota(shape, 1).eq(0).select(0.0, NEVER);
        let skips = self.skips.gt(0);
        for t in 0..x[1] {
            let from = |steps: usize| {
                let steps = steps.min(places);
                let kept = alpha.slice_axis(1, 0, places - steps);
                kept.pad(&[0, steps], &[0, 0], NEVER)
            };
            let ways = [alpha, from(1), skips.select(from(2), NEVER)];
            let x = emitted.slice_axis(1, t, t + 1).reshape(shape);
            let next = log_sum(ways) + x;
            let time = i32::try_from(t).unwrap_or(i32::MAX);
            let within = frames.gt(time).reshape([batch, 1]).expand(shape);
            alpha = within.select(next, alpha);
        }
        let last = self.ends.select(alpha, NEVER);
        let most = last.max_keep(&[1]).stop_gradient();
        let sum = (last - most).exp().sum_keep(&[1]).log() + most;
        sum.reshape(batch)
    }
}

/// `log(eᵃ + eᵇ + eᶜ)`. The largest is a constant: its gradient adds up to 0.
fn log_sum([a, b, c]: [Var<'_>; 3]) -> Var<'_> {
    let most = a.maximum(b).maximum(c).stop_gradient();
    ((a - most).exp() + (b - most).exp() + (c - most).exp()).log() + most
}
