//! Models on the CPU: training, scores, predictions, files.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it saw"
)]

use gradus_data::{Batch, Dataset, datasets};
use gradus_graph::Array;
use gradus_nn::{Accuracy, Adam, CrossEntropy, Dense, Sequential};
use gradus_train::{Compile, Device, Fit, IntoModel, Model};

fn digits(samples: usize) -> Dataset {
    datasets::digits().take(samples).unwrap()
}

fn settings(data: &Dataset) -> Compile {
    Compile::for_data(data)
        .device(Device::cpu())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-2))
        .metric(Accuracy::new())
        .batch(32)
        .seed(7)
}

fn model(data: &Dataset) -> Model {
    let net = Sequential::new().dense(16).relu().dropout(0.1).dense(10);
    net.compile(settings(data)).unwrap()
}

#[test]
fn training_lowers_the_loss() {
    let data = digits(200);
    let mut model = model(&data);
    println!("{}", model.plan());
    let before = model.evaluate(&data).unwrap();
    let history = model
        .fit(&data, Fit::epochs(8).validation_split(0.1))
        .unwrap();
    println!("{history}");
    let after = model.evaluate(&data).unwrap();
    println!("{before} -> {after}");
    assert!(after.loss() < 0.5 * before.loss());
    assert!(after.get("accuracy").unwrap() > 0.8);
    assert_eq!(history.epochs().len(), 8);
    assert_eq!(model.steps(), 8 * 6); // 180 samples: five batches of 32 and one of 20
}

#[test]
fn a_resident_data_set_gives_the_same_bits() {
    let data = digits(100);
    let net = || Sequential::new().dense(16).relu().dropout(0.1).dense(10);
    let run = |resident| {
        let mut model = net().compile(settings(&data).resident(resident)).unwrap();
        let history = model.fit(&data, Fit::epochs(2)).unwrap();
        (model.digest().unwrap(), history.curves("loss").0)
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn steps_by_hand_report_their_loss() {
    let data = digits(64);
    let mut model = model(&data);
    assert_eq!(model.last_loss().unwrap(), None);
    let mut tickets = Vec::new();
    for indices in data.order(7, 0).batches(16).unwrap() {
        tickets.push(model.step(&data.gather(indices).unwrap()).unwrap());
    }
    let last = model.last_loss().unwrap().unwrap();
    let scores: Vec<_> = tickets
        .iter()
        .rev()
        .map(|t| model.wait(*t).unwrap())
        .collect();
    assert_eq!(scores[0].loss(), last);
    assert_eq!(scores[0].samples(), 16);
    let error = model.wait(tickets[0]).unwrap_err().to_string();
    assert!(error.starts_with("step 0 has been reported"), "{error}");
}

#[test]
fn predictions_for_many_and_for_one() {
    let data = digits(70); // two batches of 32, and 6 padded to 8
    let mut model = model(&data);
    let (_, x) = data.inputs().next().unwrap();
    let all = model.predict(x).unwrap();
    assert_eq!(&all.shape()[..], [70, 10]);
    let row = Array::vector(x.as_f32().unwrap()[69 * 64..].to_vec());
    let one = model.predict(&row).unwrap();
    assert_eq!(&one.shape()[..], [10]);
    assert_eq!(one.as_f32().unwrap(), &all.as_f32().unwrap()[690..]);

    let proba = model.predict_proba(&data).unwrap();
    let sums = proba
        .as_f32()
        .unwrap()
        .chunks(10)
        .map(|r| r.iter().sum::<f32>());
    assert!(sums.into_iter().all(|s| (s - 1.0).abs() < 1e-5));
    let classes = model.predict_classes(&data).unwrap();
    assert_eq!(classes.len(), 70);
    let scores = model.evaluate(&data).unwrap();
    let labels = data.target().to_words();
    let right = classes
        .iter()
        .zip(&labels)
        .filter(|(c, l)| c.cast_unsigned() == **l)
        .count();
    assert!((scores.get("accuracy").unwrap() - right as f64 / 70.0).abs() < 1e-6);
}

#[test]
fn a_file_resumes_with_the_same_bits() {
    let data = digits(80);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut unbroken = model(&data);
    unbroken.fit(&data, Fit::epochs(2)).unwrap();
    unbroken.save(&path).unwrap();
    unbroken.fit(&data, Fit::epochs(2)).unwrap();

    let mut resumed = Sequential::new()
        .dense(16)
        .relu()
        .dropout(0.1)
        .dense(10)
        .compile(settings(&data).seed(99))
        .unwrap();
    resumed.load(&path).unwrap();
    resumed.fit(&data, Fit::epochs(2)).unwrap();
    assert_eq!(resumed.digest().unwrap(), unbroken.digest().unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    let data = digits(10);
    let mut model = model(&data);
    let batch = Batch::new().with("x", Array::new([2, 63], vec![0f32; 126]).unwrap());
    let error = model.step(&batch).unwrap_err().to_string();
    assert_eq!(
        error,
        "`x`: the model takes samples f32 [64], found f32 [63]"
    );
}

#[test]
fn a_layer_without_bias_has_one_parameter() {
    let data = digits(64);
    let net = Sequential::new().layer(Dense::new(10).no_bias());
    let mut model = net.compile(settings(&data)).unwrap();
    assert_eq!(model.parameter_names(), ["0.weight"]);
    model.fit(&data, Fit::epochs(1).quiet()).unwrap();
}

#[test]
fn in_order_takes_the_samples_as_they_stand() {
    let data = digits(96);
    let fitted = |fit: Fit| {
        let mut model = model(&data);
        model.fit(&data, fit.quiet()).unwrap();
        model.digest().unwrap()
    };
    let mut by_hand = model(&data);
    for indices in data.sequential().batches(32).unwrap() {
        by_hand.step(&data.gather(indices).unwrap()).unwrap();
    }
    let in_order = fitted(Fit::epochs(1).in_order());
    assert_eq!(in_order, by_hand.digest().unwrap());
    assert_ne!(in_order, fitted(Fit::epochs(1)));
}

#[test]
fn a_last_short_batch_can_be_left_out() {
    // 45 samples in batches of 16: two full ones, and 13 that are left over.
    let data = digits(45);
    for resident in [false, true] {
        let net = Sequential::new().dense(10);
        let mut model = net
            .compile(settings(&data).batch(16).resident(resident))
            .unwrap();
        let fit = || Fit::epochs(1).quiet().in_order().drop_last();
        model.fit(&data, fit()).unwrap();
        assert_eq!(model.steps(), 2);
        let net = Sequential::new().dense(10);
        let first = data.take(32).unwrap();
        let mut other = net.compile(settings(&data).batch(16)).unwrap();
        other
            .fit(&first, Fit::epochs(1).quiet().in_order())
            .unwrap();
        assert_eq!(model.digest().unwrap(), other.digest().unwrap());
        let error = model
            .fit(&data.take(7).unwrap(), fit())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("7 samples make no full batch of 16"),
            "{error}"
        );
    }
}
