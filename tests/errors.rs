//! Mistakes of users, bad files and missing devices, one by one: each is an `Err` that says what
//! is wrong, where, and what was expected.

use std::error::Error;
use std::fs;

use gradus::data::idx;
use gradus::graph::plan::SlabLayout;
use gradus::prelude::*;
use gradus_graph::Target;
use libtest_mimic::{Arguments, Failed};
use support::gpu::{Check, Gpu};

mod support;

/// Message and causes in one line, as a person sees them.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The error says all of this.
fn says<T>(result: Result<T, impl Error>, parts: &[&str]) -> Result<(), Failed> {
    let Err(error) = result else {
        return Err("there was no error".into());
    };
    let text = chain(&error);
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(part) => Err(format!("`{part}` is not in: {text}").into()),
        None => Ok(()),
    }
}

fn digits() -> Dataset {
    datasets::digits()
}

fn settings(data: &Dataset, device: &Device) -> Compile {
    Compile::for_data(data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-3))
        .batch(16)
}

fn net() -> Sequential {
    Sequential::new().dense(12).relu().dense(10)
}

/// Losses that are not reduced are for steps that go on computing.
fn a_loss_of_many_numbers(device: &Device) -> Result<(), Failed> {
    let data = digits().take(32)?;
    let loss = CrossEntropy::new().reduction(Reduction::None);
    says(
        net().compile(settings(&data, device).loss(loss)),
        &["[16]", "scalar"],
    )
}

/// Inner dimensions differ: the message names the layer, both shapes and the user's line.
fn inner_dimensions(device: &Device) -> Result<(), Failed> {
    let line = line!() + 2;
    let net = Sequential::new()
        .with(|scope, x| x.matmul(scope.param("weight", [63, 10], init::Zeros)))
        .relu();
    let result = net.compile(settings(&digits(), device));
    let place = format!("{}:{line}", file!());
    says(
        result,
        &[
            "matmul",
            "`0`",
            "[16, 64]",
            "64 columns",
            "[63, 10]",
            "63 rows",
            &place,
        ],
    )
}

/// A label above the width of the last layer, known from the data set.
fn labels_on_the_host(device: &Device) -> Result<(), Failed> {
    let net = Sequential::new().dense(9);
    says(net.compile(settings(&digits(), device)), &["9", "10 wide"])
}

/// A label out of range in a batch made by hand: found by the kernels.
fn labels_on_the_device(device: &Device) -> Result<(), Failed> {
    for bad in [10, -1, i32::MAX] {
        let mut model = net().compile(settings(&digits(), device))?;
        let mut labels = vec![3; 16];
        labels[5] = bad;
        let batch = Batch::new()
            .with("x", Array::new([16, 64], vec![0.5f32; 16 * 64])?)
            .with("y", Array::new([16], labels)?);
        let ticket = model.step(&batch)?;
        let parts = ["step 0", &bad.to_string(), "0 to 9", "`y` holds it at [5]"];
        says(model.wait(ticket), &parts)?;
    }
    Ok(())
}

/// A token that the embedding has no row for: in a batch, in a data set, and in one that lies on
/// the device.
fn tokens_on_the_device(device: &Device) -> Result<(), Failed> {
    let net = Sequential::new().layer(Embedding::new(9, 4)).dense(9);
    let mut tokens: Vec<i32> = (0..10 * 7).map(|i| i % 9).collect();
    tokens[6 * 7 + 3] = 9;
    let (x, y) = (Array::new([10, 7], tokens)?, vec![0; 10 * 7]);
    let data = Dataset::from_arrays(x.clone(), Array::new([10, 7], y)?)?;
    let parts = ["index 9", "`0`", "0 to 8", "at [6, 3]"];
    for resident in [false, true] {
        let settings = settings(&data, device).resident(resident);
        let mut model = net.clone().compile(settings)?;
        let fit = Fit::epochs(1).in_order().quiet();
        says(model.fit(&data, fit), &parts)?;
        says(model.predict(&x), &parts)?;
    }
    Ok(())
}

fn empty_data(_: &Device) -> Result<(), Failed> {
    let x = Array::new([0, 4], Vec::<f32>::new())?;
    let y = Array::new([0], Vec::<i32>::new())?;
    says(
        Dataset::from_arrays(x, y),
        &["`y`", "holds no data", "at least one sample"],
    )
}

fn wrong_width(device: &Device) -> Result<(), Failed> {
    let mut model = net().compile(settings(&digits(), device))?;
    let x = Array::new([2, 63], vec![0f32; 126])?;
    says(model.predict(&x), &["`x`", "[64]", "[63]"])
}

fn batch_of_none(device: &Device) -> Result<(), Failed> {
    says(
        net().compile(settings(&digits(), device).batch(0)),
        &["batch"],
    )
}

/// No such adapter: the message lists those there are.
fn unknown_adapter(device: &Device) -> Result<(), Failed> {
    let name = device.to_string();
    let known = name
        .split(['(', ','])
        .next()
        .unwrap_or_default()
        .trim()
        .to_string();
    says(Device::named("Voodoo 2"), &["Voodoo 2", &known])
}

/// A parameter above what buffers of the device hold.
fn too_large_a_parameter(_: &Device) -> Result<(), Failed> {
    let graph = Graph::new();
    graph.param("embed.weight", [100_000, 768], init::Zeros);
    let layout = SlabLayout::new(&graph.params(), &Target::webgpu());
    says(
        layout,
        &["`embed.weight`", "307200000", "webgpu", "268435456"],
    )
}

/// A tensor above what the device binds: an error of `compile`, not hours later.
fn too_large_a_tensor(device: &Device) -> Result<(), Failed> {
    let limit = device.target().max_binding_bytes / 4;
    let batch = usize::try_from(limit / 64)? + 1;
    let net = Sequential::new().dense(4).relu().dense(10);
    says(
        net.compile(settings(&digits(), device).batch(batch)),
        &["bytes", "binds at most"],
    )
}

fn damaged_files(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    let mut model = net().compile(settings(&digits(), device))?;
    model.save(&path)?;
    let bytes = fs::read(&path)?;
    let mut load = |content: &[u8], parts: &[&str]| -> Result<(), Failed> {
        fs::write(&path, content)?;
        let before = model.digest()?;
        says(model.load(&path), &[&["model.safetensors"], parts].concat())?;
        if before != model.digest()? {
            return Err("a refused file changed the model".into());
        }
        Ok(())
    };
    load(
        &bytes[..bytes.len() - 7],
        &["not a complete safetensors file"],
    )?;
    load(b"GIF89a: not this", &["not a complete safetensors file"])?;
    load(&[], &["not a complete safetensors file"])?;
    let mut other = Sequential::new()
        .dense(13)
        .relu()
        .dense(10)
        .compile(settings(&digits(), device))?;
    let foreign = folder.path().join("other.safetensors");
    other.save(&foreign)?;
    load(
        &fs::read(&foreign)?,
        &["`0.weight`", "[12, 64]", "[13, 64]"],
    )?;
    says(model.load(folder.path().join("none")), &["none"])
}

fn damaged_idx(_: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("images");
    fs::write(&path, [1, 2, 8, 1, 0, 0, 0, 1, 7])?;
    says(
        idx::read(&path),
        &["images", "01 02 at offset 0", "expected 00 00"],
    )?;
    fs::write(&path, [0, 0, 8, 1, 0, 0, 0, 9, 7])?;
    says(idx::read(&path), &["images", "9", "1"])?;
    says(datasets::mnist(folder.path()), &["train-images"])
}

/// The device goes away between two steps: an error, and again an error, never a panic.
#[cfg(feature = "gpu")]
fn destroyed_device(_: &Device) -> Result<(), Failed> {
    let tensor =
        gradus::tensor::Device::best().or_else(|_| gradus::tensor::Device::named("software"))?;
    let mut model = net().compile(settings(&digits(), &Device::from(tensor.clone())))?;
    let data = digits().take(64)?;
    model.fit(&data, Fit::epochs(1).quiet())?;
    tensor.destroy();
    says(model.fit(&data, Fit::epochs(1).quiet()), &["lost"])?;
    says(model.evaluate(&data), &["lost"])?;
    says(model.predict(&data), &["lost"])
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 11] = [
        ("a loss of many numbers", a_loss_of_many_numbers),
        ("inner dimensions", inner_dimensions),
        ("labels on the host", labels_on_the_host),
        ("labels on the device", labels_on_the_device),
        ("tokens on the device", tokens_on_the_device),
        ("empty data", empty_data),
        ("wrong width", wrong_width),
        ("batch of none", batch_of_none),
        ("too large a parameter", too_large_a_parameter),
        ("damaged files", damaged_files),
        ("damaged idx", damaged_idx),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    trials.push(gpu.trial("unknown adapter", unknown_adapter));
    trials.push(gpu.trial("too large a tensor", too_large_a_tensor));
    #[cfg(feature = "gpu")]
    trials.push(gpu.trial("destroyed device", destroyed_device));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
