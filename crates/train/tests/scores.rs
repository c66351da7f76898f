//! Metrics: what they count, and what they make of means.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use gradus_data::{Dataset, IGNORED};
use gradus_graph::Array;
use gradus_nn::{Accuracy, CrossEntropy, Embedding, Perplexity, Sgd};
use gradus_train::{Compile, Device, Fit, IntoModel, Model};

const TARGETS: [i32; 12] = [1, 2, IGNORED, 0, IGNORED, IGNORED, 4, 4, 0, IGNORED, 3, 2];

fn data() -> Dataset {
    let tokens: Vec<i32> = (0..12).map(|i| i * i % 5).collect();
    let x = Array::new([4, 3], tokens).unwrap();
    Dataset::from_arrays(x, Array::new([4, 3], TARGETS.to_vec()).unwrap()).unwrap()
}

fn model(batch: usize, loss: CrossEntropy) -> Model {
    let settings = Compile::for_data(&data())
        .device(Device::cpu())
        .loss(loss)
        .optimizer(Sgd::new(0.1))
        .metric(Accuracy::new())
        .metric(Perplexity::new())
        .batch(batch);
    Embedding::new(5, 5).compile(settings).unwrap()
}

#[test]
fn ignored_labels_are_neither_right_nor_wrong() {
    let mut model = model(4, CrossEntropy::new().ignore(IGNORED));
    let classes = model.predict_classes(&data()).unwrap();
    let right = classes.iter().zip(TARGETS).filter(|(c, t)| **c == *t);
    let share = right.count() as f64 / 8.0;
    let found = model.evaluate(&data()).unwrap();
    assert!(
        (found.get("accuracy").unwrap() - share).abs() < 1e-6,
        "{found}"
    );
    assert!(model.verify().unwrap().passed());
}

/// A token that the loss does not ignore is no class.
#[test]
fn a_label_for_none_must_be_ignored() {
    let error = model(4, CrossEntropy::new()).evaluate(&data()).unwrap_err();
    assert!(error.to_string().contains("-100"), "{error}");
}

#[test]
fn perplexity_is_made_of_the_mean_loss() {
    let mut model = model(1, CrossEntropy::new().ignore(IGNORED));
    let like = |scores: &gradus_train::Scores| {
        let (found, wanted) = (scores.get("perplexity").unwrap(), scores.loss().exp());
        assert!((found / wanted - 1.0).abs() < 1e-6, "{scores}");
    };
    like(&model.evaluate(&data()).unwrap());
    let ticket = model.step(&data().gather(&[0]).unwrap()).unwrap();
    like(&model.wait(ticket).unwrap());
    let history = model.fit(&data(), Fit::epochs(1).quiet()).unwrap();
    like(&history.last().unwrap().train);
}
