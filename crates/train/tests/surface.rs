//! What people write: several inputs, settings that are missing, files of others, plots.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::error::Error as _;

use gradus_data::{Batch, Dataset, datasets};
use gradus_graph::{Array, DType};
use gradus_nn::{
    Accuracy, Adam, BceWithLogits, CrossEntropy, Dense, Functional, Mse, Sequential, Sgd, Vars,
};
use gradus_train::{Compile, Device, Error, Fit, IntoModel, Model};

fn settings(data: &Dataset) -> Compile {
    Compile::for_data(data)
        .device(Device::cpu())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-2))
        .batch(8)
}

fn digits() -> Dataset {
    datasets::digits().take(40).unwrap()
}

fn model() -> Model {
    let net = Sequential::new().dense(6).relu().dense(10);
    net.compile(settings(&digits())).unwrap()
}

/// Two inputs by name, two outputs by name; the first one is what the loss sees.
#[test]
fn several_inputs_and_outputs() {
    let n = 12;
    let left = Array::new([n, 3], vec![0.5f32; 3 * n]).unwrap();
    let right = Array::new([n, 2], vec![-0.25f32; 2 * n]).unwrap();
    let y = Array::new([n, 1], vec![1.0f32; n]).unwrap();
    let data = Dataset::from_inputs([("left", left), ("right", right)], y).unwrap();
    let net = Functional::new(|scope, inputs| {
        let graph = scope.graph();
        let a = scope.apply("a", &Dense::new(4), inputs.get(graph, "left"));
        let b = scope.apply("b", &Dense::new(4), inputs.get(graph, "right"));
        let hidden = (a + b).tanh();
        Vars::new()
            .with("score", scope.apply("head", &Dense::new(1), hidden))
            .with("hidden", hidden)
    });
    let settings = settings(&data).loss(Mse::new());
    let mut model = net.compile(settings).unwrap();
    let before = model.evaluate(&data).unwrap().loss();
    model.fit(&data, Fit::epochs(20)).unwrap();
    assert!(model.evaluate(&data).unwrap().loss() < 0.1 * before);
    assert!(model.verify().unwrap().passed());
    let outputs = model.predict_all(&data).unwrap();
    assert_eq!(&outputs.get("hidden").unwrap().shape()[..], [12, 4]);
    assert_eq!(
        outputs.get("score").unwrap(),
        &model.predict(&data).unwrap()
    );
    let names = [
        "a.weight",
        "a.bias",
        "b.weight",
        "b.bias",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(model.parameter_names(), names);
    assert_eq!(model.parameter_count(), 12 + 4 + 8 + 4 + 4 + 1);

    let batch = Batch::new().with("left", Array::new([1, 3], vec![0f32; 3]).unwrap());
    let error = model.predict(&batch).unwrap_err().to_string();
    assert_eq!(error, "the model takes `right`, but the data has `left`");
}

#[test]
fn an_unknown_input_lists_those_there_are() {
    let net = Functional::new(|scope, inputs| inputs.get(scope.graph(), "image").into());
    let error = net.compile(settings(&digits())).unwrap_err().to_string();
    assert!(
        error.contains("no value named `image`; there are `x`"),
        "{error}"
    );
}

#[test]
fn missing_settings_say_what_to_add() {
    let refuse = |settings: Compile| {
        let net = Sequential::new().dense(10);
        net.compile(settings).unwrap_err().to_string()
    };
    let data = digits();
    let no_loss = Compile::for_data(&data).optimizer(Adam::new(1e-3));
    assert_eq!(
        refuse(no_loss),
        "cannot compile: no loss: add `.loss(CrossEntropy::new())`"
    );
    let no_optimizer = Compile::for_data(&data).loss(CrossEntropy::new());
    assert!(refuse(no_optimizer).contains("`.optimizer(Adam::new(1e-3))`"));
    assert!(refuse(Compile::new()).contains("`Compile::for_data(&data)`"));
    assert!(refuse(settings(&data).clip_norm(0.0)).contains("above 0, found 0"));
    let rate = refuse(settings(&data).optimizer(Sgd::new(-1.0)));
    assert!(
        rate.contains("learning rate must be greater than 0, found -1"),
        "{rate}"
    );
}

#[test]
fn without_data_shapes_are_given_by_hand() {
    let settings = Compile::new()
        .input("x", 2, DType::F32)
        .target(1, DType::F32)
        .device(Device::cpu())
        .loss(BceWithLogits::new())
        .metric(Accuracy::new())
        .optimizer(Sgd::new(0.1))
        .batch(4);
    let net = Sequential::new().dense(3).tanh().dense(1);
    let mut model = net.compile(settings).unwrap();
    let found = model.verify().unwrap();
    assert!(found.passed(), "{found}");
    let x = Array::vector(vec![0.5f32, -0.5]);
    assert!(matches!(model.predict_classes(&x).unwrap()[..], [0 | 1]));
    assert_eq!(&model.predict_proba(&x).unwrap().shape()[..], [1]);
}

#[test]
fn a_regression_has_no_classes() {
    let y = Array::new([4, 1], vec![0f32; 4]).unwrap();
    let data = Dataset::from_arrays(Array::new([4, 2], vec![0f32; 8]).unwrap(), y).unwrap();
    let settings = settings(&data).loss(Mse::new());
    let mut model = Sequential::new().dense(1).compile(settings).unwrap();
    let error = model.predict_classes(&data).unwrap_err();
    assert!(matches!(error, Error::NotClasses { .. }));
    assert!(
        error
            .to_string()
            .ends_with("gives no classes; use `predict`")
    );
}

#[test]
fn parameters_can_be_read_and_replaced() {
    let mut model = model();
    let bias = Array::vector((0..10u8).map(f32::from).collect::<Vec<_>>());
    model.set_parameter("2.bias", &bias).unwrap();
    assert_eq!(model.parameter("2.bias").unwrap(), bias);
    let error = model
        .set_parameter("0.bias", &bias)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "`0.bias`: expected f32 [6], found f32 [10]");
    let error = model.parameter("1.bias").unwrap_err().to_string();
    assert!(error.contains("the model has `0.weight`, `0.bias`, `2.weight`, `2.bias`"));
}

/// Another optimizer's file gives parameters only, and this optimizer starts anew.
#[test]
fn a_file_of_another_optimizer_gives_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sgd.safetensors");
    let net = || Sequential::new().dense(6).relu().dense(10);
    let sgd = settings(&digits()).optimizer(Sgd::new(0.1));
    let mut first = net().compile(sgd).unwrap();
    first.fit(&digits(), Fit::epochs(1)).unwrap();
    first.save(&path).unwrap();
    let mut second = model();
    second.load(&path).unwrap();
    assert_eq!(second.steps(), 0);
    assert_eq!(
        second.parameter("0.weight").unwrap(),
        first.parameter("0.weight").unwrap()
    );
    second.fit(&digits(), Fit::epochs(1)).unwrap();
}

#[test]
fn a_file_that_lacks_a_tensor_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let deeper = Sequential::new().dense(6).relu().relu().dense(10);
    deeper
        .compile(settings(&digits()))
        .unwrap()
        .save(&path)
        .unwrap();
    let error = model().load(&path).unwrap_err();
    let source = error.source().unwrap().to_string();
    assert_eq!(
        source,
        "no tensor `2.weight` [10, 6]; the file has `0.bias`, `0.weight`, `3.bias`, `3.weight`"
    );
}

#[cfg(feature = "plot")]
#[test]
fn a_plot_has_a_panel_for_each_score() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.svg");
    let net = Sequential::new().dense(10);
    let mut model = net
        .compile(settings(&digits()).metric(Accuracy::new()))
        .unwrap();
    let fit = Fit::epochs(3).validation_split(0.2);
    let history = model.fit(&digits(), fit).unwrap();
    history.plot(&path).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    for part in [
        "<svg",
        "loss",
        "accuracy",
        "training",
        "validation",
        "epoch",
        "</svg>",
    ] {
        assert!(svg.contains(part), "{part} is not in the plot");
    }
    assert_eq!(history.to_string().lines().count(), 3);
}
