//! Composites, and functions of layers and losses in the middle of other ops.

use std::sync::Arc;

use gradus_graph::{DType, Scope, Var, grad};
use gradus_nn::{
    Activate, BceWithLogits, BinaryFocal, CrossEntropy, Focal, Loss, Mse, Nll, Reduction,
};

use super::{Gen, Row, row};

type F1 = for<'g> fn(Var<'g>) -> Var<'g>;

/// Of the largest value: `exp`, a division and a sum.
const SOFTMAX: f64 = 32.0;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let ops: [(&str, F1); 2] = [
        ("softmax", |x| x.softmax()),
        ("log_softmax", |x| x.log_softmax()),
    ];
    for (op, f) in ops {
        let shapes: [(&[usize], usize); 7] = [
            (&[1, 1], 1),
            (&[5], 5),
            (&[3, 257], 257),
            (&[2, 3, 7], 7),
            (&[70_001, 2], 2),
            (&[2, 70_001], 70_001),
            (&[0, 3], 3),
        ];
        for (dims, terms) in shapes {
            let built = row(op, [Gen::normal(dims)], move |_, x| f(x[0]));
            rows.push(built.sums_over(terms).ulps(SOFTMAX));
        }
        let built = row(
            op,
            [Gen::uniform([9, 31], -90.0, 90.0)],
            move |_, x| f(x[0]),
        );
        rows.push(
            built
                .note("far apart")
                .sums_over(31)
                .ulps(SOFTMAX)
                .parity_only(),
        );
        let built = row(op, [Gen::normal([9, 7])], move |_, x| {
            f(x[0].transpose() * 2.0).square()
        });
        rows.push(built.note("between").sums_over(9).ulps(SOFTMAX));
    }
    rows.extend(cross_entropy());
    rows.extend(label_losses());
    rows.extend(functions());
    rows.extend(second_order());
    rows
}

fn cross_entropy() -> Vec<Row> {
    let mut rows = Vec::new();
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[1, 1], &[1]),
        (&[7, 10], &[7]),
        (&[33, 257], &[33]),
        (&[2, 3, 5], &[2, 3]),
        (&[70_001, 3], &[70_001]),
        (&[2, 70_001], &[2]),
        (&[0, 3], &[0]),
    ];
    for (logits, labels) in shapes {
        let classes = logits[logits.len() - 1];
        let bound = i32::try_from(classes).unwrap();
        let inputs = [Gen::normal(logits), Gen::i32s(labels, 0, bound)];
        let built = row("cross_entropy", inputs, |_, x| x[0].cross_entropy(x[1]));
        rows.push(built.sums_over(classes).ulps(SOFTMAX));
    }
    let inputs = [Gen::normal([64, 10]), Gen::u32s([64], 10)];
    let built = row("cross_entropy", inputs, |_, x| {
        x[0].cross_entropy(x[1]).mean_all()
    });
    rows.push(built.note("mean").sums_over(64).ulps(SOFTMAX));
    rows
}

/// Losses of labels with their settings, on scores of several layouts.
fn label_losses() -> Vec<Row> {
    let weights = || [0.5f32, 2.0, 1.0, 3.0, 0.25];
    let ce = CrossEntropy::new;
    let all = ce().label_smoothing(0.1).class_weights(weights()).ignore(3);
    let losses: [(&'static str, &'static str, Box<dyn Loss>); 9] = [
        (
            "cross_entropy",
            "smooth",
            Box::new(ce().label_smoothing(0.2)),
        ),
        ("cross_entropy", "ignoring", Box::new(ce().ignore(3))),
        (
            "cross_entropy",
            "weighted",
            Box::new(ce().class_weights(weights())),
        ),
        ("cross_entropy", "all settings", Box::new(all.clone())),
        (
            "cross_entropy",
            "a sum",
            Box::new(all.reduction(Reduction::Sum)),
        ),
        (
            "nll",
            "",
            Box::new(Nll::new().class_weights(weights()).ignore(0)),
        ),
        ("focal", "", Box::new(Focal::new())),
        ("focal", "1", Box::new(Focal::new().gamma(1.0).ignore(2))),
        (
            "focal",
            "½",
            Box::new(Focal::new().gamma(0.5).class_weights(weights())),
        ),
    ];
    let mut rows = Vec::new();
    for (op, note, loss) in losses {
        let loss = Arc::<dyn Loss>::from(loss);
        let layouts: [(&[usize], &[usize]); 3] = [
            (&[33, 5], &[33]),
            (&[2, 5, 3, 2], &[2, 3, 2]),
            (&[1, 5], &[1]),
        ];
        for (scores, labels) in layouts {
            let loss = Arc::clone(&loss);
            let labels = Gen::i32s(labels, 0, 5);
            let built = row(op, [Gen::normal(scores), labels], move |g, x| {
                // The first label is 1, which no loss ignores: something counts in every batch.
                let first = g.iota(x[1].shape(), 0).eq(0);
                let labels = first.select(1, x[1]);
                loss.forward(&Scope::root(g, true), x[0] * 1.5, labels)
            });
            rows.push(built.note(note).sums_over(165).ulps(4.0 * SOFTMAX));
        }
    }
    let soft = || [Gen::normal([2, 5, 3]), Gen::uniform([2, 5, 3], 0.0, 1.0)];
    rows.push(
        row("cross_entropy", soft(), |g, x| {
            let loss = CrossEntropy::new().class_axis(1).label_smoothing(0.1);
            loss.forward(&Scope::root(g, true), x[0], x[1])
        })
        .note("probabilities")
        .sums_over(30)
        .ulps(SOFTMAX),
    );
    for (gamma, alpha) in [(2.0, 0.25), (0.0, 0.5), (1.0, 0.9), (3.5, 0.0)] {
        let targets = [
            Gen::normal([33, 7]).away_from_zero(),
            Gen::uniform([33, 7], 0.0, 1.0),
        ];
        let built = row("binary_focal", targets, move |g, x| {
            let loss = BinaryFocal::new().gamma(gamma).alpha(alpha);
            loss.forward(&Scope::root(g, true), x[0], x[1])
        });
        rows.push(
            built
                .note(&format!("{gamma} {alpha}"))
                .sums_over(231)
                .ulps(4.0 * SOFTMAX),
        );
    }
    rows
}

fn functions() -> Vec<Row> {
    let activations: [(&'static str, F1); 7] = [
        ("leaky_relu", |x| x.leaky_relu(0.1)),
        ("elu", |x| x.elu(1.3)),
        ("gelu", |x| x.gelu()),
        ("gelu_tanh", |x| x.gelu_tanh()),
        ("silu", |x| x.silu()),
        ("softplus", |x| x.softplus(1.0, 20.0)),
        ("trunc", |x| x.trunc()),
    ];
    let mut rows: Vec<Row> = activations
        .into_iter()
        .map(|(name, f)| {
            let input = Gen::normal([257]).keeping(|x| (0.05..0.95).contains(&x.rem_euclid(1.0)));
            row(name, [input], move |_, x| f(x[0])).ulps(64.0)
        })
        .collect();
    let pair = || [Gen::normal([33, 7]), Gen::normal([33, 7])];
    rows.push(
        row("mse", pair(), |g, x| {
            Mse::new().forward(&Scope::root(g, true), x[0], x[1])
        })
        .sums_over(231),
    );
    let targets = [
        Gen::normal([33, 7]).away_from_zero(),
        Gen::uniform([33, 7], 0.0, 1.0),
    ];
    rows.push(
        row("bce_with_logits", targets, |g, x| {
            BceWithLogits::new().forward(&Scope::root(g, true), x[0], x[1])
        })
        .sums_over(231)
        .ulps(SOFTMAX),
    );
    rows.push(
        row(
            "layer_norm",
            [Gen::normal([9, 65]), Gen::normal([65]), Gen::normal([65])],
            |_, x| {
                let centered = x[0] - x[0].mean_keep(&[-1]);
                let variance = centered.square().mean_keep(&[-1]);
                centered * (variance + 1e-5).rsqrt() * x[1] + x[2]
            },
        )
        .sums_over(65)
        .ulps(SOFTMAX),
    );
    rows.push(
        row(
            "attention",
            [
                Gen::normal([2, 5, 8]),
                Gen::normal([2, 7, 8]),
                Gen::normal([2, 7, 3]),
            ],
            |_, x| {
                let scores = x[0].matmul(x[1].transpose()) * 8f64.sqrt().recip();
                scores.softmax().matmul(x[2])
            },
        )
        .sums_over(8)
        .ulps(SOFTMAX),
    );
    rows.push(
        row(
            "mlp",
            [
                Gen::normal([33, 17]),
                Gen::normal([19, 17]),
                Gen::normal([19]),
                Gen::normal([5, 19]),
                Gen::i32s([33], 0, 5),
            ],
            |_, x| {
                let h = (x[0].matmul(x[1].transpose()) * 0.3 + x[2]).tanh();
                h.matmul(x[3].transpose()).cross_entropy(x[4]).mean_all()
            },
        )
        .sums_over(33 * 19)
        .ulps(SOFTMAX),
    );
    rows
}

/// Gradients of gradients.
fn second_order() -> Vec<Row> {
    let table: [(&'static str, F1); 6] = [
        ("tanh", |x| x.tanh()),
        ("softmax", |x| x.softmax() * x),
        ("log_softmax", |x| x.log_softmax() * x.sin()),
        ("matmul", |x| x.matmul(x.transpose()).sigmoid()),
        ("norm", |x| (x.square().sum_keep(&[-1]) + 1.0).sqrt()),
        ("gelu", |x| x.gelu()),
    ];
    let mut rows: Vec<Row> = table
        .into_iter()
        .map(|(name, f)| {
            let built = row(name, [Gen::normal([5, 7])], move |_, x| {
                grad(f(x[0]).square().sum_all(), &x[..1])[0]
            });
            built.note("second order").sums_over(64).ulps(4096.0)
        })
        .collect();
    let inputs = [Gen::normal([5, 7]), Gen::i32s([5], 0, 7)];
    rows.push(
        row("cross_entropy", inputs, |_, x| {
            grad(x[0].cross_entropy(x[1]).square().sum_all(), &x[..1])[0]
        })
        .note("second order")
        .sums_over(64)
        .ulps(SOFTMAX),
    );
    // The norm of a critic's gradient, as a penalty.
    rows.push(
        row(
            "penalty",
            [Gen::normal([6, 5]), Gen::normal([5, 9])],
            |g, x| {
                let critic = x[0].matmul(x[1]).tanh().sum_all();
                let dx = grad(critic, &x[..1])[0];
                let norm = (dx.square().sum(&[1]) + 1e-3).sqrt();
                (norm - 1.0).square().mean_all() + g.full((), 0.0).cast(DType::F32)
            },
        )
        .sums_over(64)
        .ulps(4096.0),
    );
    rows
}
