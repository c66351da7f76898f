//! Losses that are more than a composite: gradients, parity, and what cannot be built.

use std::sync::Arc;

use gradus_graph::{DType, Graph, Layer, Scope, Var};
use gradus_nn::{
    BinaryFocal, CosineEmbedding, CrossEntropy, Ctc, Focal, GaussianNll, Hinge, HingeEmbedding,
    Huber, KlDivergence, L1, Loss, MarginRanking, MultiMargin, Nll, PoissonNll, Reduction,
    SmoothL1, TripletMargin,
};

use super::mistakes::{Mistake, f32s, i32s, mistake};
use super::{Gen, Row, row};

/// Of the largest value: `exp`, `log`, divisions and sums.
const ULPS: f64 = 64.0;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = pairs();
    rows.extend(classes());
    rows.extend(threes());
    rows.extend(ctc());
    rows
}

/// Losses of numbers and targets of one shape.
fn pairs() -> Vec<Row> {
    let real = |dims: &[usize]| Gen::normal(dims).away_from_zero();
    let shares = |dims: &[usize]| Gen::uniform(dims, 0.1, 0.9);
    let signs = |dims: &[usize]| Gen::i32s(dims, -1, 2);
    type Make = fn(&[usize]) -> Gen;
    let losses: [(&str, Box<dyn Loss>, Make); 14] = [
        ("l1", Box::new(L1::new()), real),
        ("huber", Box::new(Huber::new().delta(0.7)), real),
        ("smooth_l1", Box::new(SmoothL1::new().beta(0.3)), real),
        (
            "kl_divergence",
            Box::new(KlDivergence::new().batch_mean()),
            shares,
        ),
        (
            "kl_divergence",
            Box::new(KlDivergence::new().log_target()),
            real,
        ),
        ("poisson_nll", Box::new(PoissonNll::new().full()), |dims| {
            Gen::uniform(dims, 1.5, 9.0)
        }),
        ("hinge", Box::new(Hinge::new()), signs),
        ("hinge", Box::new(Hinge::new().squared()), signs),
        ("hinge_embedding", Box::new(HingeEmbedding::new()), signs),
        ("l1", Box::new(L1::new().reduction(Reduction::None)), real),
        (
            "huber",
            Box::new(Huber::new().reduction(Reduction::Sum)),
            real,
        ),
        (
            "kl_divergence",
            Box::new(KlDivergence::new().reduction(Reduction::None)),
            shares,
        ),
        (
            "poisson_nll",
            Box::new(PoissonNll::new().reduction(Reduction::None)),
            shares,
        ),
        (
            "hinge",
            Box::new(Hinge::new().reduction(Reduction::None)),
            signs,
        ),
    ];
    let mut rows = Vec::new();
    for (i, (op, loss, target)) in losses.into_iter().enumerate() {
        let loss = Arc::<dyn Loss>::from(loss);
        for dims in [&[33, 7][..], &[1][..], &[2, 3, 5][..]] {
            let (loss, inputs) = (Arc::clone(&loss), [real(dims), target(dims)]);
            let built = row(op, inputs, move |g, x| {
                loss.forward(&Scope::root(g, true), x[0] * 1.37, x[1])
            });
            let built = built.note(&format!("loss {i}")).sums_over(231);
            rows.push(built.ulps(ULPS));
        }
    }
    rows.push(
        row(
            "poisson_nll",
            [Gen::positive([5, 3]), Gen::positive([5, 3])],
            |g, x| {
                PoissonNll::new()
                    .rates()
                    .forward(&Scope::root(g, true), x[0], x[1])
            },
        )
        .note("rates")
        .sums_over(15)
        .ulps(ULPS),
    );
    rows
}

fn classes() -> Vec<Row> {
    let weights = [0.5f32, 2.0, 1.0, 3.0, 0.25];
    let plain = MultiMargin::new;
    let losses = [
        plain(),
        plain()
            .squared()
            .margin(0.7)
            .class_weights(weights)
            .ignore(3),
        plain().reduction(Reduction::None),
    ];
    let mut rows = Vec::new();
    for (i, loss) in losses.into_iter().enumerate() {
        for (scores, labels) in [(&[33, 5][..], &[33][..]), (&[2, 5, 3, 2], &[2, 3, 2])] {
            let loss = loss.clone();
            let inputs = [Gen::normal(scores), Gen::i32s(labels, 0, 3)];
            let built = row("multi_margin", inputs, move |g, x| {
                loss.forward(&Scope::root(g, true), x[0] * 1.3, x[1])
            });
            let built = built.note(&format!("loss {i}")).sums_over(165);
            rows.push(built.ulps(ULPS));
        }
    }
    rows
}

/// Losses of three inputs.
fn threes() -> Vec<Row> {
    let mut rows = Vec::new();
    for reduction in [Reduction::Mean, Reduction::None] {
        let with = |third| [Gen::normal([33, 7]), Gen::normal([33, 7]), third];
        let note = format!("{reduction:?}");
        let mut add = |built: Row| {
            let more = &built.note.clone();
            rows.push(
                built
                    .note(&format!("{note} {more}"))
                    .sums_over(231)
                    .ulps(ULPS),
            );
        };
        for (norm, swap) in [(1.0, false), (2.0, false), (2.0, true), (3.0, false)] {
            let mut loss = TripletMargin::new().norm(norm).reduction(reduction);
            if swap {
                loss = loss.swap();
            }
            let inputs = with(Gen::normal([33, 7]));
            let built = row("triplet_margin", inputs, move |g, x| {
                loss.forward(&Scope::root(g, true), x[0], x[1], x[2])
            });
            add(built.note(&format!("{norm} {swap}")));
        }
        let signs = |dims: &[usize]| Gen::i32s(dims, 0, 2);
        let ranking = MarginRanking::new().margin(0.1).reduction(reduction);
        let inputs = with(signs(&[33, 7]));
        add(row("margin_ranking", inputs, move |g, x| {
            ranking.forward(&Scope::root(g, true), x[0], x[1], x[2] * 2 - 1)
        }));
        let cosine = CosineEmbedding::new().margin(0.2).reduction(reduction);
        let inputs = with(signs(&[33]));
        add(row("cosine_embedding", inputs, move |g, x| {
            cosine.forward(&Scope::root(g, true), x[0], x[1], x[2] * 2 - 1)
        }));
        let gaussian = GaussianNll::new().reduction(reduction);
        for spread in [&[33, 7][..], &[33][..], &[33, 1][..], &[][..]] {
            let inputs = with(Gen::positive(spread));
            add(row("gaussian_nll", inputs, move |g, x| {
                gaussian.forward(&Scope::root(g, true), x[0], x[1], x[2])
            }));
        }
    }
    rows
}

fn ctc() -> Vec<Row> {
    // Batch, frames, classes, labels.
    let mut rows = Vec::new();
    for [batch, frames, classes, labels] in
        [[3, 7, 5, 3], [1, 1, 2, 1], [2, 12, 4, 5], [2, 3, 3, 0]]
    {
        let length = |most: usize| Gen::i32s([batch], 0, i32::try_from(most).unwrap() + 1);
        let inputs = [
            Gen::normal([batch, frames, classes]),
            Gen::i32s([batch, labels], 1, i32::try_from(classes).unwrap()),
            length(frames),
            length(labels),
        ];
        let built = row("ctc", inputs, |g, x| {
            let ctc = Ctc::new().zero_infinity();
            ctc.forward(&Scope::root(g, true), x[0].log_softmax(), x[1], x[2], x[3])
        });
        rows.push(built.sums_over(frames * 7).ulps(ULPS));
    }
    let inputs = [Gen::normal([2, 6, 4]), Gen::i32s([2, 2], 0, 3)];
    let built = row("ctc", inputs, |g, x| {
        let (all, both) = (g.full(2, 6), g.full(2, 2));
        let ctc = Ctc::new().blank(3).reduction(Reduction::None);
        ctc.forward(&Scope::root(g, true), x[0].log_softmax(), x[1], all, both)
    });
    rows.push(built.note("blank 3").sums_over(42).ulps(ULPS));
    rows
}

/// A loss of `[4, 3]` with a target of this kind.
struct Losing<'a>(&'a dyn Loss, DType, &'static [usize]);

impl Layer for Losing<'_> {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let target = scope.graph().input("t", self.2, self.1);
        self.0.forward(scope, x, target)
    }
}

/// The loss, on the line of its row.
#[track_caller]
fn loss(g: &Graph, loss: &dyn Loss, dtype: DType, target: &'static [usize]) {
    let layer = Losing(loss, dtype, target);
    Scope::root(g, true).apply("loss", &layer, f32s(g, &[4, 3]));
}

pub(super) fn mistakes() -> Vec<Mistake> {
    vec![
        mistake("focal", &["gamma", "-1"], |g| {
            loss(g, &Focal::new().gamma(-1.0), DType::I32, &[4]);
        }),
        mistake("focal", &["i32 or u32", "f32 [4, 3]"], |g| {
            loss(g, &Focal::new(), DType::F32, &[4, 3]);
        }),
        mistake("nll", &["3 class weights", "2"], |g| {
            loss(g, &Nll::new().class_weights([1.0, 2.0]), DType::I32, &[4]);
        }),
        mistake("cross_entropy", &["class axis 0", "[4, 3]", "[4]"], |g| {
            loss(g, &CrossEntropy::new().class_axis(0), DType::I32, &[4]);
        }),
        mistake("cross_entropy", &["class axis 2", "[4, 3] has not"], |g| {
            loss(g, &CrossEntropy::new().class_axis(2), DType::I32, &[4]);
        }),
        mistake("cross_entropy", &["smoothing", "[0, 1]", "1.5"], |g| {
            loss(
                g,
                &CrossEntropy::new().label_smoothing(1.5),
                DType::I32,
                &[4],
            );
        }),
        mistake("binary_focal", &["alpha", "[0, 1]", "2"], |g| {
            loss(g, &BinaryFocal::new().alpha(2.0), DType::F32, &[4, 3]);
        }),
        mistake("binary_focal", &["[4, 3]", "i32 [4]"], |g| {
            loss(g, &BinaryFocal::new(), DType::I32, &[4]);
        }),
        mistake("huber", &["delta", "0"], |g| {
            loss(g, &Huber::new().delta(0.0), DType::F32, &[4, 3]);
        }),
        mistake("huber", &["[4, 3]", "i32 [4]"], |g| {
            loss(g, &Huber::new(), DType::I32, &[4]);
        }),
        mistake("smooth_l1", &["beta", "-1"], |g| {
            loss(g, &SmoothL1::new().beta(-1.0), DType::F32, &[4, 3]);
        }),
        mistake("l1", &["[4, 3]", "[4]"], |g| {
            loss(g, &L1::new(), DType::F32, &[4]);
        }),
        mistake("kl_divergence", &["[4, 3]", "[4]"], |g| {
            loss(g, &KlDivergence::new(), DType::F32, &[4]);
        }),
        mistake("poisson_nll", &["eps", "-1"], |g| {
            loss(g, &PoissonNll::new().eps(-1.0), DType::F32, &[4, 3]);
        }),
        mistake("hinge", &["[4, 3]", "bool [4, 3]"], |g| {
            loss(g, &Hinge::new(), DType::Bool, &[4, 3]);
        }),
        mistake("hinge_embedding", &["margin", "-1"], |g| {
            loss(g, &HingeEmbedding::new().margin(-1.0), DType::F32, &[4, 3]);
        }),
        mistake("multi_margin", &["margin", "NaN"], |g| {
            loss(g, &MultiMargin::new().margin(f64::NAN), DType::I32, &[4]);
        }),
        mistake("multi_margin", &["i32 or u32", "f32 [4, 3]"], |g| {
            loss(g, &MultiMargin::new(), DType::F32, &[4, 3]);
        }),
        mistake("margin_ranking", &["[4, 3]", "i32 [4]"], |g| {
            let x = f32s(g, &[4, 3]);
            MarginRanking::new().forward(&Scope::root(g, true), x, x, i32s(g, &[4]));
        }),
        mistake("cosine_embedding", &["[4]", "i32 [4, 3]"], |g| {
            let x = f32s(g, &[4, 3]);
            CosineEmbedding::new().forward(&Scope::root(g, true), x, x, i32s(g, &[4, 3]));
        }),
        mistake("cosine_embedding", &["margin", "2"], |g| {
            let (x, loss) = (f32s(g, &[4, 3]), CosineEmbedding::new().margin(2.0));
            loss.forward(&Scope::root(g, true), x, x, i32s(g, &[4]));
        }),
        mistake("triplet_margin", &["[4, 3]", "[4]"], |g| {
            let x = f32s(g, &[4, 3]);
            TripletMargin::new().forward(&Scope::root(g, true), x, x, f32s(g, &[4]));
        }),
        mistake("triplet_margin", &["norm", "0.5"], |g| {
            let x = f32s(g, &[4, 3]);
            let loss = TripletMargin::new().norm(0.5);
            loss.forward(&Scope::root(g, true), x, x, x);
        }),
        mistake("gaussian_nll", &["variance", "[4, 3]", "[3]"], |g| {
            let x = f32s(g, &[4, 3]);
            GaussianNll::new().forward(&Scope::root(g, true), x, x, f32s(g, &[3]));
        }),
        mistake("gaussian_nll", &["eps", "0"], |g| {
            let x = f32s(g, &[4, 3]);
            let loss = GaussianNll::new().eps(0.0);
            loss.forward(&Scope::root(g, true), x, x, x);
        }),
        mistake("ctc", &["[B, T, C]", "[4, 3]"], |g| {
            let (x, n) = (f32s(g, &[4, 3]), i32s(g, &[4]));
            Ctc::new().forward(&Scope::root(g, true), x, i32s(g, &[4, 2]), n, n);
        }),
        mistake("ctc", &["i32 lengths [B]", "[3]"], |g| {
            let (x, n) = (f32s(g, &[4, 5, 3]), i32s(g, &[3]));
            Ctc::new().forward(&Scope::root(g, true), x, i32s(g, &[4, 2]), n, n);
        }),
        mistake("ctc", &["blank", "3 classes", "7"], |g| {
            let (x, n) = (f32s(g, &[4, 5, 3]), i32s(g, &[4]));
            let ctc = Ctc::new().blank(7);
            ctc.forward(&Scope::root(g, true), x, i32s(g, &[4, 2]), n, n);
        }),
    ]
}
