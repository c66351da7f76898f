//! The networks of the examples: sound on every device, and good at what they are for.
//!
//! What takes minutes is ignored: `cargo test --release --workspace --test networks -- --ignored`.
#![allow(
    clippy::duplicate_mod,
    reason = "each example brings what it shares with others"
)]

use std::collections::BTreeMap;

use gradus::graph::plan::{Request, SlabLayout, lower};
use gradus::graph::{Graph, Target, grad};
use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed, Trial};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use support::golden;
use support::gpu::{Check, Gpu};

#[path = "networks/judge.rs"]
mod judge;
#[path = "networks/mnist.rs"]
mod mnist;
#[path = "networks/sequences.rs"]
mod sequences;
mod support;

macro_rules! example {
    ($name:ident, $file:literal) => {
        #[allow(dead_code, reason = "an example also has a `main`")]
        #[path = $file]
        mod $name;
    };
}
example!(cnn, "../examples/cnn.rs");
example!(resnet, "../examples/resnet.rs");
example!(autoencoder, "../examples/autoencoder.rs");
example!(vae, "../examples/vae.rs");
example!(gan, "../examples/gan.rs");
example!(wgan_gp, "../examples/wgan_gp.rs");
example!(gpt, "../examples/gpt.rs");
example!(lstm, "../examples/lstm.rs");
example!(translate, "../examples/translate.rs");
example!(classify, "../examples/classify.rs");
example!(shared, "../examples/shared/mod.rs");

fn passed(model: &mut Model) -> Result<(), Failed> {
    let found = model.verify()?;
    if found.passed() {
        Ok(())
    } else {
        Err(found.to_string().into())
    }
}

fn few() -> Result<Dataset, Failed> {
    Ok(shared::digits()?.0.take(100)?)
}

fn ensure(holds: bool, found: impl std::fmt::Debug) -> Result<(), Failed> {
    if holds {
        Ok(())
    } else {
        Err(format!("found {found:?}").into())
    }
}

/// Sound before training and after some steps.
fn fitted(mut model: Model, data: &Dataset) -> Result<(), Failed> {
    passed(&mut model)?;
    model.fit(data, Fit::epochs(1).quiet())?;
    passed(&mut model)
}

fn short_cnn(device: &Device) -> Result<(), Failed> {
    fitted(cnn::model(device.clone(), &few()?)?, &few()?)
}

fn short_resnet(device: &Device) -> Result<(), Failed> {
    fitted(resnet::model(device.clone(), &few()?)?, &few()?)
}

fn short_autoencoder(device: &Device) -> Result<(), Failed> {
    let data = autoencoder::images(&few()?)?;
    fitted(autoencoder::model(device.clone(), &data)?, &data)
}

fn short_vae(device: &Device) -> Result<(), Failed> {
    let mut model = vae::model(device.clone(), 7)?;
    passed(&mut model)?;
    vae::epoch(&mut model, &few()?, 0)?;
    passed(&mut model)
}

fn short_gan(device: &Device) -> Result<(), Failed> {
    let mut model = gan::model(device.clone(), 7)?;
    passed(&mut model)?;
    gan::epoch(&mut model, &few()?, 0)?;
    passed(&mut model)
}

fn short_wgan_gp(device: &Device) -> Result<(), Failed> {
    let mut model = wgan_gp::model(device.clone(), 7)?;
    passed(&mut model)?;
    wgan_gp::epoch(&mut model, &few()?, 0)?;
    passed(&mut model)
}

fn resnet18(classes: usize) -> resnet::ResNet {
    resnet::ResNet {
        large: true,
        widths: vec![64, 128, 256, 512],
        classes,
    }
}

/// The names, and the number of parameters, of torchvision's ResNet-18; plans for every named
/// target.
fn a_resnet18_is_planned() -> Result<(), Failed> {
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let x = graph.input("x", [2, 3, 224, 224], DType::F32);
    let y = graph.input("y", [2], DType::I32);
    let loss = CrossEntropy::new().forward(&scope, resnet18(1000).forward(&scope, x), y);
    graph.check()?;
    let params = graph.params();
    let count: usize = params.iter().map(|p| p.shape.numel()).sum();
    assert_eq!(count, 11_689_512);
    let states = graph.states();
    let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
    for name in [
        "conv1.weight",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.0.weight",
        "layer4.1.bn2.bias",
        "fc.weight",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    for name in [
        "layer1.0.bn1.running_mean",
        "layer2.0.downsample.1.running_var",
    ] {
        assert!(states.iter().any(|s| s.name == name), "{name}");
    }
    let gradients: Vec<_> = grad(loss, &graph.param_vars())
        .into_iter()
        .map(Some)
        .collect();
    let optimizer = Adam::new(1e-3);
    for target in [
        Target::webgpu(),
        Target::discrete(),
        Target::lavapipe(),
        Target::cpu(),
    ] {
        let plan = lower(&Request {
            readbacks: vec![("loss".into(), loss)],
            gradients: gradients.clone(),
            optimizer: Some(&optimizer),
            ..Request::new(
                "resnet18",
                &graph,
                SlabLayout::new(&params, &target)?,
                &target,
            )
        })?;
        plan.check()?;
        // Statistics and counts of normalizations join other kernels.
        ensure(plan.kernels.len() <= 120, plan.kernels.len())?;
    }
    Ok(())
}

/// A network that PyTorch trained (`tests/golden/cnn_batchnorm.py`), from a file with its names
/// and its 64-bit counts: it predicts what PyTorch predicts, and what does not fit is named.
fn pretrained(device: &Device) -> Result<(), Failed> {
    let stage = |net: Sequential, filters| {
        net.layer(Conv2d::new(filters, 3).padding(1).no_bias())
            .batch_norm()
            .relu()
            .max_pool(2)
    };
    let net = stage(stage(Sequential::new(), 6), 8).flatten().dense(10);
    let settings = Compile::new().input("x", [1, 8, 8], DType::F32);
    let mut model = net.compile(settings.device(device.clone()).batch(8))?;
    let golden = golden::File::open("cnn_batchnorm_adam");
    let stored = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/cnn_batchnorm_adam.safetensors"
    );
    let bytes = std::fs::read(stored)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let trained = || {
        let tensors = file.tensors().into_iter();
        let named = tensors.filter_map(|(name, view)| {
            let name = name.strip_prefix("out.after5.")?.to_owned();
            Some((name, view))
        });
        named.collect::<BTreeMap<String, TensorView<'_>>>()
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pretrained.safetensors");
    let load = |model: &mut Model, tensors| -> Result<Result<(), String>, Failed> {
        std::fs::write(&path, safetensors::serialize(tensors, None)?)?;
        // The cause is the source of the error.
        Ok(model
            .load(&path)
            .map_err(|e| format!("{:#}", anyhow::Error::from(e))))
    };
    load(&mut model, trained())??;
    let x = golden.get("in.x");
    let few = Array::new([8, 1, 8, 8], x.as_f32()?[..8 * 64].to_vec())?;
    golden.check_within("out.test_logits", &model.predict(&few)?, 1e-4)?;
    let digest = model.digest()?;

    // Another head, and no count of batches: what fits is read, the rest is told.
    let mut part = trained();
    let head = part.remove("9.bias").ok_or("no bias")?;
    part.insert("fc.bias".into(), head);
    std::fs::write(&path, safetensors::serialize(part, None)?)?;
    let matching = model.load_matching(&path)?;
    ensure(
        matching.missing == ["9.bias"] && matching.unexpected == ["fc.bias"],
        &matching,
    )?;
    ensure(matching.loaded.len() + 1 == trained().len(), &matching)?;
    golden.check_within("out.test_logits", &model.predict(&few)?, 1e-4)?;
    let mut other = trained();
    other.insert("4.weight".into(), other["0.weight"].clone());
    std::fs::write(&path, safetensors::serialize(other, None)?)?;
    ensure(model.load_matching(&path).is_err(), "a shape that differs")?;

    let says = |found: Result<(), String>, parts: &[&str]| match found {
        Ok(()) => Err(Failed::from("there was no error")),
        Err(text) if parts.iter().all(|part| text.contains(part)) => Ok(()),
        Err(text) => Err(format!("{text} lacks one of {parts:?}").into()),
    };
    let mut missing = trained();
    missing.remove("5.running_var");
    let parts = ["no tensor `5.running_var` [8]", "`5.running_mean`"];
    says(load(&mut model, missing)?, &parts)?;
    let mut unknown = trained();
    unknown.insert("fc.bias".into(), unknown["9.bias"].clone());
    says(
        load(&mut model, unknown)?,
        &["`fc.bias` [10]", "not of this model"],
    )?;
    let mut other = trained();
    other.insert("4.weight".into(), other["0.weight"].clone());
    let parts = ["`4.weight`", "[8, 6, 3, 3]", "[6, 1, 3, 3]"];
    says(load(&mut model, other)?, &parts)?;
    ensure(
        model.digest()? == digest,
        "a load that failed changed the model",
    )
}

/// Steps of the real widths on small images: the loss of a batch that is seen again falls.
fn a_resnet18_learns() -> Result<(), Failed> {
    let pixels: Vec<f32> = (0..2 * 3 * 64 * 64)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let data = Dataset::from_arrays(
        Array::new([2, 3, 64, 64], pixels)?,
        Array::new([2], vec![0, 1])?,
    )?;
    let mut model = resnet18(2).compile(
        Compile::for_data(&data)
            .device(Device::cpu())
            .loss(CrossEntropy::new())
            .optimizer(Sgd::new(0.01))
            .batch(2),
    )?;
    let batch = data.gather(&[0, 1])?;
    let mut losses = Vec::new();
    for _ in 0..3 {
        let ticket = model.step(&batch)?;
        losses.push(model.wait(ticket)?.loss());
    }
    ensure(losses[2] < losses[0], losses)
}

/// At least 98.5 % of the digits that it has not seen.
fn reads_digits(mut model: Model, epochs: usize) -> Result<Model, Failed> {
    let (train, test) = shared::digits()?;
    model.fit(&train, Fit::epochs(epochs).quiet())?;
    let accuracy = model.evaluate(&test)?.get("accuracy");
    eprintln!("accuracy {accuracy:?}");
    ensure(accuracy.is_some_and(|a| a >= 0.985), accuracy)?;
    Ok(model)
}

fn long_cnn(device: &Device) -> Result<(), Failed> {
    let model = cnn::model(device.clone(), &shared::digits()?.0)?;
    reads_digits(model, 20).map(drop)
}

fn long_resnet(device: &Device) -> Result<(), Failed> {
    let model = resnet::model(device.clone(), &shared::digits()?.0)?;
    reads_digits(model, 15).map(drop)
}

fn long_autoencoder(device: &Device) -> Result<(), Failed> {
    let (train, test) = shared::digits()?;
    let (train, test) = (autoencoder::images(&train)?, autoencoder::images(&test)?);
    let mut model = autoencoder::model(device.clone(), &train)?;
    model.fit(&train, Fit::epochs(30).quiet())?;
    let loss = model.evaluate(&test)?.loss();
    eprintln!("mean square {loss}");
    // The pixels' own variance is 0.14, or 0.073 about the mean image.
    ensure(loss < 0.02, loss)
}

/// The first of many images, to look at.
fn keep(name: &str, images: &Array) -> Result<(), Failed> {
    let path = format!("{}/{name}.png", env!("CARGO_TARGET_TMPDIR"));
    let few = Array::new([64, 1, 8, 8], images.as_f32()?[..64 * 64].to_vec())?;
    Ok(shared::save_grid(&path, &few, 8)?)
}

/// What its decoder makes of noise is like what it makes of digits: both are means, which vary
/// less than digits do.
fn long_vae(device: &Device) -> Result<(), Failed> {
    let train = shared::digits()?.0;
    let (_, digits) = train.inputs().next().ok_or("no images")?;
    for seed in [7, 8, 9] {
        let mut model = vae::model(device.clone(), seed)?;
        let first = vae::epoch(&mut model, &train, 0)?;
        let mut last = first;
        for epoch in 1..vae::EPOCHS as u32 {
            last = vae::epoch(&mut model, &train, epoch)?;
        }
        eprintln!("seed {seed}: loss {first} to {last}");
        ensure(last < 0.8 * first, (first, last))?;
        let again = model.outputs("reconstruct", &Batch::new().with("x", digits.clone()))?;
        let again = again.get("image").ok_or("no reconstruction")?;
        let images = model.predict(&shared::noise(1000, vae::LATENT, 0)?)?;
        keep(&format!("vae-{seed}"), &images)?;
        let wanted = judge::Wanted {
            sureness: 0.8,
            rarest: 0.03,
            coverage: 0.8,
            density: 0.8,
            moments: 0.1,
        };
        judge::alike(device, &images, again, &wanted)?;
    }
    Ok(())
}

/// Images of digits that were held back have a coverage of 0.7, 360 of them, and a density of 1.
const GENERATED: judge::Wanted = judge::Wanted {
    sureness: 0.85,
    rarest: 0.04,
    coverage: 0.5,
    density: 0.3,
    moments: 0.1,
};

fn long_gan(device: &Device) -> Result<(), Failed> {
    let train = shared::digits()?.0;
    let (_, digits) = train.inputs().next().ok_or("no images")?;
    let mut model = gan::model(device.clone(), 7)?;
    for epoch in 0..gan::EPOCHS as u32 {
        gan::epoch(&mut model, &train, epoch)?;
    }
    let images = model.predict(&shared::noise(1000, gan::LATENT, 0)?)?;
    keep("gan", &images)?;
    judge::alike(device, &images, digits, &GENERATED)
}

fn long_wgan_gp(device: &Device) -> Result<(), Failed> {
    let train = shared::digits()?.0;
    let (_, digits) = train.inputs().next().ok_or("no images")?;
    let mut model = wgan_gp::model(device.clone(), 7)?;
    let mut distances = Vec::new();
    for epoch in 0..wgan_gp::EPOCHS as u32 {
        distances.push(wgan_gp::epoch(&mut model, &train, epoch)?);
    }
    let most = distances.iter().copied().fold(0.0, f64::max);
    let last = distances.iter().rev().take(10).sum::<f64>() / 10.0;
    eprintln!("distance at most {most}, in the end {last}");
    let images = model.predict(&shared::noise(1000, wgan_gp::LATENT, 0)?)?;
    keep("wgan_gp", &images)?;
    // It rises while the critic learns, and falls as the generator follows.
    ensure(last < 0.5 * most, distances)?;
    judge::alike(device, &images, digits, &GENERATED)
}

fn main() {
    let short: [(&str, Check); 10] = [
        ("cnn", short_cnn),
        ("resnet", short_resnet),
        ("autoencoder", short_autoencoder),
        ("vae", short_vae),
        ("gan", short_gan),
        ("wgan_gp", short_wgan_gp),
        ("gpt", sequences::short_gpt),
        ("lstm", sequences::short_lstm),
        ("translate", sequences::short_translate),
        ("classify", sequences::short_classify),
    ];
    let long: [(&str, Check); 6] = [
        ("cnn", long_cnn),
        ("resnet", long_resnet),
        ("autoencoder", long_autoencoder),
        ("vae", long_vae),
        ("gan", long_gan),
        ("wgan_gp", long_wgan_gp),
    ];
    let gpu = Gpu::from_env();
    let mut trials = vec![
        gpu.trial("pretrained/gpu", pretrained),
        Trial::test("pretrained/cpu", || pretrained(&Device::cpu())),
        Trial::test("resnet18/plans", a_resnet18_is_planned),
        Trial::test("resnet18/cpu", a_resnet18_learns),
    ];
    for (name, check) in short {
        trials.extend(gpu.both(name, check));
    }
    trials.extend(mnist::trials(&gpu));
    for (name, check) in long {
        let full = Trial::test(format!("{name}/full"), move || check(&Device::best()?));
        trials.push(full.with_ignored_flag(true));
    }
    trials.extend(sequences::full(&gpu));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
