//! Variants that were measured: kept in a file, used again, and right. Times are not tested.

use std::path::Path;
use std::sync::Arc;

use gradus::graph::backend::ModelMemory;
use gradus::graph::plan::{KernelKind, Role};
use gradus::graph::{DeviceClass, step_row};
use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use support::gpu::Gpu;

mod support;

fn model(device: &Device) -> Result<Model, Failed> {
    let net = Sequential::new().dense(48).relu().dropout(0.2).dense(10);
    Ok(net.compile(
        Compile::for_data(&datasets::digits().take(64)?)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(1e-2))
            .batch(16)
            .seed(3),
    )?)
}

/// The digest after a few steps.
fn train(device: &Device) -> Result<gradus::train::Digest, Failed> {
    let mut model = model(device)?;
    model.fit(&datasets::digits().take(64)?, Fit::epochs(1))?;
    Ok(model.digest()?)
}

fn read(path: &Path) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// Replaces the choices for all kernels of which `wanted` tells a name.
fn choose(path: &Path, wanted: impl Fn(&str) -> Option<&'static str>) -> Result<(), Failed> {
    let mut file = read(path)?;
    let adapters = file["adapters"].as_object_mut().ok_or("no adapters")?;
    let choices = adapters.values_mut().filter_map(Value::as_object_mut);
    for choice in choices.flat_map(|choices| choices.values_mut()) {
        if let Some(name) = choice.as_str().and_then(&wanted) {
            *choice = name.into();
        }
    }
    Ok(std::fs::write(path, file.to_string())?)
}

/// The same file, the same bits; and nothing is measured twice.
fn kept(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("autotune.json");
    let tuned = device.clone().autotune(&path)?;
    let first = train(&tuned)?;
    let file = read(&path)?;
    assert_eq!(file["version"], 1);
    let choices = &file["adapters"][device.to_string()];
    assert!(choices.as_object().is_some_and(|c| c.len() > 4), "{file}");
    assert_eq!(train(&device.clone().autotune(&path)?)?, first);
    assert_eq!(read(&path)?, file, "what was known was measured again");
    let report = model(&tuned)?.verify()?;
    assert!(report.passed(), "{report}");
    Ok(())
}

/// What the file says is what runs, if there is such a variant.
fn obeyed(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("autotune.json");
    train(&device.clone().autotune(&path)?)?;
    choose(&path, |_| Some("of another generator"))?;
    let tuned = device.clone().autotune(&path)?;
    train(&tuned)?;
    let text = std::fs::read_to_string(&path)?;
    assert!(!text.contains("of another"), "{text}");

    let (name, short) = match device.target().class {
        DeviceClass::Gpu => (
            "Matmul(Sliced(Sliced { rows: 1, cols: 1, across: 4, down: 1, slices: 64 }))",
            "sliced 1×1/64",
        ),
        _ => (
            "Matmul(Register(Register { rows: 1, cols: 1, across: 8, down: 1, shared: false }))",
            "register 1×1,",
        ),
    };
    choose(&path, |old| old.starts_with("Matmul").then_some(name))?;
    let tuned = device.clone().autotune(&path)?;
    let mut model = model(&tuned)?;
    assert!(model.verify()?.passed());
    let plan = Arc::new(model.plan().clone());
    let mut runtime = tuned.runtime(ModelMemory {
        slabs: plan.slabs.clone(),
        optimizer_states: 2,
        state_bytes: 0,
    })?;
    let program = runtime.compile(Arc::clone(&plan))?;
    let uploads = plan.buffers.iter().find(|b| b.role == Role::Upload);
    let upload = vec![0; uploads.map_or(0, |b| b.bytes as usize / 4)];
    let (_, timeline) = runtime.profile(program, &[0; step_row::WORDS], &upload)?;
    let kernels = plan.kernels.iter().zip(&timeline.kernels);
    let matmuls = kernels.filter(|(k, _)| matches!(k.kind, KernelKind::MatMul(_)));
    let hows: Vec<&str> = matmuls.map(|(_, time)| time.how.as_str()).collect();
    assert!(!hows.is_empty());
    assert!(hows.iter().all(|how| how.starts_with(short)), "{hows:?}");
    Ok(())
}

/// What a device refuses to go on from.
fn files(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("autotune.json");
    for damaged in ["", "{", "[1]", r#"{"version": 1, "adapters": {"a": 3}}"#] {
        std::fs::write(&path, damaged)?;
        let error = device.clone().autotune(&path).err().ok_or(damaged)?;
        assert!(error.to_string().contains("autotune.json"), "{error}");
        assert_eq!(std::fs::read_to_string(&path)?, damaged);
    }
    let nowhere = folder.path().join("missing").join("autotune.json");
    assert!(device.clone().autotune(nowhere).is_err());
    assert!(device.clone().autotune(folder.path()).is_err());
    std::fs::write(&path, r#"{"version": 0, "adapters": {}}"#)?;
    device.clone().autotune(&path)?;
    assert_eq!(read(&path)?["version"], 1);
    Ok(())
}

fn on_the_cpu() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("autotune.json");
    let tuned = Device::cpu().autotune(&path)?;
    assert_eq!(train(&tuned)?, train(&Device::cpu())?);
    assert!(!path.exists());
    Ok(())
}

fn main() {
    let gpu = Gpu::from_env();
    let trials = vec![
        Trial::test("cpu", on_the_cpu),
        gpu.trial("kept", kept),
        gpu.trial("obeyed", obeyed),
        gpu.trial("files", files),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
