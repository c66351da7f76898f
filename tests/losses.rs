//! What losses are worth, beside formulas that are written out here.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use gradus::prelude::*;
use gradus_cpu::oracle::{self, Feeds, Tensor};
use gradus_graph::plan::{Request, SlabLayout, lower};
use gradus_graph::{Target, grad};

/// The loss, and its gradient for the prediction, in f64.
fn evaluate(loss: &dyn Loss, prediction: &Array, target: &Array) -> (f64, Vec<f64>) {
    let graph = Graph::new();
    let x = graph.input("x", *prediction.shape(), DType::F32);
    let t = graph.input("t", *target.shape(), target.dtype());
    let value = loss.forward(&Scope::root(&graph, true), x, t);
    let gradient = grad(value, &[x])[0];
    graph.check().unwrap();
    let feeds = Feeds::<f64> {
        inputs: [prediction, target].map(Tensor::from_array).to_vec(),
        params: Vec::new(),
        states: Vec::new(),
        row: oracle::row(0, 0, &[]),
    };
    let found = oracle::eval(&graph.nodes(), &feeds, &[value.id(), gradient.id()]).unwrap();
    (found.values[0].to_f64()[0], found.values[1].to_f64())
}

fn array(shape: &[usize], values: &[f32]) -> Array {
    Array::new(shape, values.to_vec()).unwrap()
}

fn labels(shape: &[usize], values: &[i32]) -> Array {
    Array::new(shape, values.to_vec()).unwrap()
}

fn near(found: f64, wanted: f64) {
    assert!(
        (found - wanted).abs() < 1e-12 * wanted.abs().max(1.0),
        "{found}, want {wanted}"
    );
}

const SCORES: [f32; 6] = [0.5, -1.0, 2.0, 3.0, 0.25, -0.75];

fn log_p(row: usize, class: usize) -> f64 {
    let row: Vec<f64> = SCORES[3 * row..3 * row + 3]
        .iter()
        .map(|&x| f64::from(x))
        .collect();
    row[class] - row.iter().map(|x| x.exp()).sum::<f64>().ln()
}

#[test]
fn focal_loss_is_its_formula() {
    let (x, t) = (array(&[2, 3], &SCORES), labels(&[2], &[2, 1]));
    let picked = [log_p(0, 2), log_p(1, 1)];
    let focal = |p: f64, gamma: f64| -(1.0 - p.exp()).powf(gamma) * p;
    for gamma in [0.0, 0.5, 1.0, 2.0, 5.0] {
        let (found, _) = evaluate(&Focal::new().gamma(gamma), &x, &t);
        near(
            found,
            picked.map(|p| focal(p, gamma)).iter().sum::<f64>() / 2.0,
        );
    }
    // The mean divides by the labels that count, not by their weights.
    let loss = Focal::new().class_weights([1.0, 3.0, 2.0]).ignore(1);
    near(evaluate(&loss, &x, &t).0, 2.0 * focal(picked[0], 2.0));
    let plain = evaluate(&CrossEntropy::new(), &x, &t);
    let zero = evaluate(&Focal::new().gamma(0.0), &x, &t);
    near(plain.0, zero.0);
    for (a, b) in plain.1.iter().zip(&zero.1) {
        near(*a, *b);
    }
}

#[test]
fn binary_focal_loss_is_its_formula() {
    let x = array(&[4], &[2.0, -1.0, 0.5, -3.0]);
    let t = array(&[4], &[1.0, 0.0, 0.0, 1.0]);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let right = [sigmoid(2.0), sigmoid(1.0), sigmoid(-0.5), sigmoid(-3.0)];
    let alpha = [0.25, 0.75, 0.75, 0.25];
    let terms = right
        .iter()
        .zip(alpha)
        .map(|(p, a)| -a * (1.0 - p).powi(2) * p.ln());
    let sum: f64 = terms.sum();
    near(evaluate(&BinaryFocal::new(), &x, &t).0, sum / 4.0);
    let loss = BinaryFocal::new().reduction(Reduction::Sum);
    near(evaluate(&loss, &x, &t).0, sum);
    let loss = BinaryFocal::new().no_alpha().gamma(0.0);
    near(
        evaluate(&loss, &x, &t).0,
        evaluate(&BceWithLogits::new(), &x, &t).0,
    );
}

/// A certain and right prediction has a loss and a gradient of 0, whatever the power.
#[test]
fn certainty_is_no_nan() {
    for gamma in [0.0, 0.5, 1.0, 2.0, 2.5] {
        let x = array(&[1, 2], &[1000.0, -1000.0]);
        let (loss, gradient) = evaluate(&Focal::new().gamma(gamma), &x, &labels(&[1], &[0]));
        assert_eq!((loss, gradient), (0.0, vec![0.0, 0.0]), "{gamma}");
        let loss = BinaryFocal::new().gamma(gamma);
        let (loss, gradient) = evaluate(&loss, &x, &array(&[1, 2], &[1.0, 0.0]));
        assert_eq!((loss, gradient), (0.0, vec![0.0, 0.0]), "{gamma}");
    }
}

/// Where every label is ignored the mean is NaN, but no parameter becomes NaN by it.
#[test]
fn nothing_that_counts_has_no_gradient() {
    let (x, t) = (array(&[2, 3], &SCORES), labels(&[2], &[-100, -100]));
    let losses: [Box<dyn Loss>; 4] = [
        Box::new(CrossEntropy::new().ignore(-100)),
        Box::new(
            CrossEntropy::new()
                .ignore(-100)
                .class_weights([1.0, 2.0, 3.0]),
        ),
        Box::new(CrossEntropy::new().ignore(-100).label_smoothing(0.1)),
        Box::new(Focal::new().ignore(-100)),
    ];
    for loss in losses {
        let (value, gradient) = evaluate(&*loss, &x, &t);
        assert!(value.is_nan(), "{loss:?}: {value}");
        assert_eq!(gradient, vec![0.0; 6], "{loss:?}");
    }
}

/// As many classes as rows and columns: the axis after the batch holds the classes of images, and
/// the last one those of sequences; `class_axis` says otherwise.
#[test]
fn classes_lie_where_they_are_said_to() {
    let loss = |loss: CrossEntropy, shape: &[usize], labelled: &[usize]| {
        let n: usize = shape.iter().product();
        let x: Vec<f32> = (0..n).map(|i| (i * i % 7) as f32).collect();
        let rows: usize = labelled.iter().product();
        let t: Vec<i32> = (0..rows).map(|i| i32::try_from(i % 2).unwrap()).collect();
        evaluate(&loss, &array(shape, &x), &labels(labelled, &t)).0
    };
    let plain = CrossEntropy::new;
    let (image, rows) = (&[2, 2, 2, 2][..], &[2, 2, 2][..]);
    let first = loss(plain().class_axis(1), image, rows);
    let last = loss(plain().class_axis(-1), image, rows);
    assert_ne!(first, last);
    assert_eq!(loss(plain(), image, rows), first);
    let (sequence, tokens) = (&[2, 2, 2][..], &[2, 2][..]);
    let first = loss(plain().class_axis(1), sequence, tokens);
    assert_ne!(loss(plain(), sequence, tokens), first);
    // Only one axis fits.
    let channels = loss(plain().class_axis(1), &[2, 3, 2], &[2, 2]);
    assert_eq!(loss(plain(), &[2, 3, 2], &[2, 2]), channels);

    let graph = Graph::new();
    let x = graph.input("x", [2, 3, 5, 5], DType::F32);
    let loss = plain();
    assert_eq!(loss.classes(x).unwrap().shape()[..], [2, 5, 5]);
    assert_eq!(loss.probabilities(x).unwrap().shape(), x.shape());
    assert_eq!(loss.label_bound(&x.shape()), Some(3));
    let target = graph.input("t", [2, 5, 5], DType::I32);
    let scope = Scope::root(&graph, true);
    let accuracy = Accuracy::new();
    accuracy.forward(&scope, &loss, x, target);
    accuracy.forward(&scope, &loss, x, x.softmax());
    graph.check().unwrap();
}

/// What a batch decides, what its labels weigh, is one more kernel; smoothing is none.
#[test]
fn settings_add_few_kernels() {
    let weights = [1.0f32, 2.0, 0.5];
    let plain = CrossEntropy::new;
    let cases = [
        (plain(), 7),
        (plain().label_smoothing(0.1), 7),
        (plain().class_weights(weights), 8),
        (plain().ignore(-100), 8),
        (
            plain()
                .ignore(-100)
                .class_weights(weights)
                .label_smoothing(0.1),
            8,
        ),
    ];
    for (loss, wanted) in cases {
        let (graph, target) = (Graph::new(), Target::cpu());
        let scope = Scope::root(&graph, true);
        let x = graph.input("x", [64, 20], DType::F32);
        let t = graph.input("t", [64], DType::I32);
        let logits = Sequential::new()
            .dense(32)
            .relu()
            .dense(3)
            .forward(&scope, x);
        let value = loss.forward(&scope, logits, t);
        let plan = lower(&Request {
            readbacks: vec![("loss".into(), value)],
            gradients: grad(value, &graph.param_vars())
                .into_iter()
                .map(Some)
                .collect(),
            optimizer: Some(&Adam::new(1e-3)),
            ..Request::new(
                "train",
                &graph,
                SlabLayout::new(&graph.params(), &target).unwrap(),
                &target,
            )
        });
        let plan = plan.unwrap();
        assert_eq!(plan.kernels.len(), wanted, "{loss:?}\n{plan:#}");
    }
}

/// The recursion over frames, and its gradient, take as many kernels for each frame however many
/// there are.
#[test]
fn frames_of_ctc_cost_alike() {
    let kernels = |frames: usize| {
        let (graph, target) = (Graph::new(), Target::cpu());
        let scope = Scope::root(&graph, true);
        let x = graph.input("x", [8, frames, 16], DType::F32);
        let ints = |name: &str, shape: &[usize]| graph.input(name, shape, DType::I32);
        let (labels, lengths) = (ints("t", &[8, 6]), ints("n", &[8]));
        let logits = Sequential::new().dense(28).forward(&scope, x);
        let log = logits.log_softmax();
        let value = Ctc::new().forward(&scope, log, labels, ints("f", &[8]), lengths);
        let plan = lower(&Request {
            readbacks: vec![("loss".into(), value)],
            gradients: grad(value, &graph.param_vars())
                .into_iter()
                .map(Some)
                .collect(),
            optimizer: Some(&Adam::new(1e-3)),
            ..Request::new(
                "train",
                &graph,
                SlabLayout::new(&graph.params(), &target).unwrap(),
                &target,
            )
        });
        plan.unwrap().kernels.len()
    };
    let counts = [8, 16, 24].map(kernels);
    assert_eq!(counts[2] - counts[1], counts[1] - counts[0], "{counts:?}");
}
