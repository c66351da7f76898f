//! Files of other programs: floats of other sizes, other names, tensors that are shared.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use std::path::Path;

use gradus_data::Batch;
use gradus_graph::{Array, DType};
use gradus_nn::init::Zeros;
use gradus_nn::{Dense, Functional, Sequential};
use gradus_train::{Compile, Device, IntoModel, Model};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Exact in every float.
const WEIGHT: [f32; 6] = [1.0, -2.5, 0.125, 3.0, -0.75, 6.0];
const BIAS: [f32; 2] = [0.5, -1.0];

fn bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let of = |v: f32| match dtype {
        Dtype::F16 => half::f16::from_f32(v).to_le_bytes().to_vec(),
        Dtype::BF16 => half::bf16::from_f32(v).to_le_bytes().to_vec(),
        Dtype::F64 => f64::from(v).to_le_bytes().to_vec(),
        _ => v.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(|&v| of(v)).collect()
}

fn write(path: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
    let views = tensors.iter().map(|&(name, dtype, shape, data)| {
        (name, TensorView::new(dtype, shape.to_vec(), data).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn dense() -> Model {
    let settings = Compile::new().input("x", 3, DType::F32);
    let settings = settings.device(Device::cpu()).batch(1);
    Sequential::new().dense(2).compile(settings).unwrap()
}

fn answer(model: &mut Model, x: [f32; 3]) -> Vec<f32> {
    let x = Batch::new().with("x", Array::new([1, 3], x.to_vec()).unwrap());
    model.predict(&x).unwrap().as_f32().unwrap().to_vec()
}

#[test]
fn floats_of_every_size_become_those_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64] {
        let (weight, bias) = (bytes(dtype, &WEIGHT), bytes(dtype, &BIAS));
        write(
            &path,
            &[
                ("0.weight", dtype, &[2, 3], &weight),
                ("0.bias", dtype, &[2], &bias),
            ],
        );
        let mut model = dense();
        model.load(&path).unwrap();
        assert_eq!(answer(&mut model, [1.0, 1.0, 1.0]), [-0.875, 7.25]);
        let mut model = dense();
        assert_eq!(model.load_matching(&path).unwrap().loaded.len(), 2);
        assert_eq!(answer(&mut model, [1.0, 1.0, 1.0]), [-0.875, 7.25]);
    }
    let (weight, bias) = ([0; 48], bytes(Dtype::F32, &BIAS));
    write(
        &path,
        &[
            ("0.weight", Dtype::I64, &[2, 3], &weight),
            ("0.bias", Dtype::F32, &[2], &bias),
        ],
    );
    let error = message(dense().load(&path).unwrap_err());
    assert!(
        error.contains("`0.weight`") && error.contains("I64"),
        "{error}"
    );
}

/// Subnormal numbers, zeros of both signs, infinity and NaN, too.
#[test]
fn every_half_is_read_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let net = Functional::new(|scope, inputs| {
        let table = scope.param("table", 1 << 16, Zeros);
        (inputs.get(scope.graph(), "x") + table).into()
    });
    let settings = Compile::new().input("x", 1 << 16, DType::F32);
    let mut model = net
        .compile(settings.device(Device::cpu()).batch(1))
        .unwrap();
    for dtype in [Dtype::F16, Dtype::BF16] {
        write(&path, &[("table", dtype, &[1 << 16], &all)]);
        model.load(&path).unwrap();
        let found = model.parameter("table").unwrap();
        for (bits, &found) in (0..=u16::MAX).zip(found.as_f32().unwrap()) {
            let want = match dtype {
                Dtype::F16 => half::f16::from_bits(bits).to_f32(),
                _ => half::bf16::from_bits(bits).to_f32(),
            };
            let same = found.to_bits() == want.to_bits() || (found.is_nan() && want.is_nan());
            assert!(same, "{dtype} {bits:#06x}: {found}, want {want}");
        }
    }
}

#[test]
fn names_are_the_files_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    let (weight, bias) = (bytes(Dtype::F32, &WEIGHT), bytes(Dtype::F32, &BIAS));
    let ids = [0; 16];
    write(
        &path,
        &[
            ("bert.head.gamma", Dtype::F32, &[2, 3], &weight),
            ("bert.head.beta", Dtype::F32, &[2], &bias),
            ("bert.position_ids", Dtype::I64, &[1, 2], &ids),
        ],
    );
    let names = |path: &str| {
        let path = path.replace("weight", "gamma").replace("bias", "beta");
        format!("bert.{}", path.replace("0.", "head."))
    };
    let mut model = dense();
    let found = model.load_matching_as(&path, names).unwrap();
    assert_eq!(found.loaded, ["0.weight", "0.bias"]);
    assert!(found.missing.is_empty(), "{found}");
    assert_eq!(found.unexpected, ["bert.position_ids"]);
    assert_eq!(answer(&mut model, [0.0, 0.0, 1.0]), [0.625, 5.0]);
    // What the file has for a name must fit the model, and the error has the file's name.
    let wrong = |_: &str| "bert.head.beta".to_owned();
    let error = message(model.load_matching_as(&path, wrong).unwrap_err());
    assert!(
        error.contains("`bert.head.beta`") && error.contains("[2, 3]"),
        "{error}"
    );
    assert_eq!(answer(&mut model, [0.0, 0.0, 1.0]), [0.625, 5.0]);
}

/// A file that ties two layers has one tensor for both.
#[test]
fn several_parameters_may_have_one_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    let square = bytes(Dtype::F32, &[1.0, 2.0, 3.0, 4.0]);
    write(&path, &[("table", Dtype::F32, &[2, 2], &square)]);
    let net = Functional::new(|scope, inputs| {
        let x = inputs.get(scope.graph(), "x");
        let layer = Dense::new(2).no_bias();
        let x = scope.apply("encoder", &layer, x);
        scope.apply("decoder", &layer, x).into()
    });
    let settings = Compile::new().input("x", 2, DType::F32);
    let mut model = net
        .compile(settings.device(Device::cpu()).batch(1))
        .unwrap();
    let found = model.load_matching_as(&path, |_| "table".into()).unwrap();
    assert_eq!(found.loaded.len(), 2);
    assert!(found.unexpected.is_empty() && found.missing.is_empty());
    let x = Array::new([1, 2], vec![1.0, 0.0]).unwrap();
    assert_eq!(model.predict(&x).unwrap().as_f32().unwrap(), [7.0, 15.0]);
}

/// The message with its causes.
fn message(error: gradus_train::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
