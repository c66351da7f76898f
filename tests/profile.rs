//! Profiles: complete, well formed, and without effect on what is computed. Times are not tested.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

use gradus::graph::plan::Plan;
use gradus::prelude::*;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use support::gpu::Gpu;

mod support;

const STEPS: usize = 3;

fn digits() -> Result<Dataset, Failed> {
    Ok(datasets::digits().take(300)?)
}

fn model(data: &Dataset, device: &Device, resident: bool) -> Result<Model, Failed> {
    let net = Sequential::new().dense(48).relu().dropout(0.2).dense(10);
    Ok(net.compile(
        Compile::for_data(data)
            .device(device.clone())
            .loss(CrossEntropy::new())
            .optimizer(Adam::new(1e-2))
            .batch(16)
            .resident(resident)
            .seed(3),
    )?)
}

/// An event of the trace.
struct Event {
    track: u64,
    name: String,
    begin: f64,
    end: f64,
    args: Value,
}

/// The events of a trace that have a duration.
fn events(path: &Path) -> Result<Vec<Event>, Failed> {
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let events = trace["traceEvents"].as_array().ok_or("no events")?;
    let complete = events.iter().filter(|event| event["ph"] == "X");
    let event = |event: &Value| {
        let (begin, seconds) = (event["ts"].as_f64()?, event["dur"].as_f64()?);
        Some(Event {
            track: event["tid"].as_u64()?,
            name: event["name"].as_str()?.to_string(),
            begin,
            end: begin + seconds,
            args: event["args"].clone(),
        })
    };
    let all: Option<Vec<Event>> = complete.map(event).collect();
    Ok(all.ok_or("an event lacks something")?)
}

/// One event for each kernel of each step, in order; what the host did lies within its step.
fn check_trace(path: &Path, plan: &Plan, numbers: Range<u64>) -> Result<(), Failed> {
    let events = events(path)?;
    assert!(events.iter().all(|e| e.begin >= 0.0 && e.end >= e.begin));

    let (host, kernels): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|e| e.track == 1);
    let found = kernels.iter().map(|e| (e.name.as_str(), &e.args));
    let found = found.map(|(name, args)| (name, args["bytes"].as_u64(), args["flops"].as_u64()));
    let planned = plan.kernels.iter();
    let planned = planned.map(|k| (k.label.as_str(), Some(plan.traffic(k)), Some(k.flops)));
    let planned: Vec<_> = numbers.clone().flat_map(|_| planned.clone()).collect();
    assert_eq!(found.collect::<Vec<_>>(), planned);
    assert!(kernels.is_sorted_by(|a, b| a.begin <= b.begin));

    let steps = host.iter().filter(|e| e.name.starts_with("step "));
    let names = numbers.map(|number| format!("step {number}"));
    assert!(steps.clone().map(|e| e.name.clone()).eq(names));
    for event in &host {
        let within = |step: &&Event| step.begin <= event.begin && event.end <= step.end + 1e-3;
        assert!(steps.clone().any(within), "{} in no step", event.name);
    }
    Ok(())
}

/// `clock` is how the name of the clock begins.
fn by_call(device: &Device, clock: &str) -> Result<(), Failed> {
    let data = digits()?;
    let batch = data.gather(&[0; 16])?;
    for resident in [false, true] {
        let [mut model, mut other] = [
            model(&data, device, resident)?,
            model(&data, device, resident)?,
        ];
        model.step(&batch)?;
        other.step(&batch)?;
        let profile = model.profile(STEPS)?;
        assert_eq!(model.steps(), 1);
        assert_eq!(model.digest()?, other.digest()?, "the model has changed");
        model.step(&batch)?;
        other.step(&batch)?;
        assert_eq!(model.digest()?, other.digest()?, "it trains differently");

        assert!(profile.clock.starts_with(clock), "{}", profile.clock);
        let (plan, total) = (model.plan(), profile.total());
        let labels = plan.kernels.iter().map(|k| &k.label);
        assert!(profile.kernels.iter().map(|k| &k.label).eq(labels));
        assert_eq!(total.bytes, plan.bill.bytes);
        assert_eq!(total.flops, plan.bill.flops);
        let times = profile.kernels.iter().map(|k| k.seconds);
        let mut times = times.chain([profile.step]);
        assert!(times.all(|s| s.is_finite() && s >= 0.0));
        assert!(profile.peak.bandwidth > 0.0 && profile.peak.rate > 0.0);
        let table = profile.to_string();
        for (line, kernel) in profile.kernels.iter().enumerate() {
            let row = table.lines().nth(3 + line).unwrap_or_default();
            for cell in [&line.to_string(), &kernel.label, &kernel.how] {
                assert!(
                    row.contains(cell),
                    "{cell} is not in line {line} of\n{table}"
                );
            }
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("profile.json");
        profile.save(&path)?;
        check_trace(&path, plan, 4..4 + STEPS as u64)?;
        let nowhere = folder.path().join("nowhere/profile.json");
        let error = profile.save(&nowhere).err().ok_or("written to nowhere")?;
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
    Ok(())
}

/// Set in processes that are to train and print a digest: the device, and whether the data set is
/// resident.
const CHILD: &str = "TEST_PROFILE_CHILD";

/// Trains for an epoch and prints the digest, and what `fit` reported.
fn child(device: &str) -> Result<(), Failed> {
    let (device, resident) = match device.strip_suffix(" resident") {
        Some(device) => (device, true),
        None => (device, false),
    };
    let device = match device {
        "cpu" => Device::cpu(),
        _ => Device::gpu().or_else(|_| Device::named("software"))?,
    };
    let data = digits()?;
    let mut model = model(&data, &device, resident)?;
    let history = model.fit(&data, Fit::epochs(1).quiet())?;
    let loss = history.last().ok_or("no epoch")?.train.loss();
    #[allow(clippy::print_stdout, reason = "the other process reads it")]
    {
        println!("digest {} {loss}", model.digest()?);
    }
    Ok(())
}

/// What a child prints, with a profile or without.
fn fit(device: &str, profile: Option<&Path>) -> Result<String, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(CHILD, device).env_remove("GRADUS_PROFILE");
    command.envs(profile.map(|path| ("GRADUS_PROFILE", path)));
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let found = text.lines().find(|line| line.starts_with("digest "));
    let error = || format!("no digest: {}", String::from_utf8_lossy(&output.stderr));
    Ok(found.ok_or_else(error)?.to_string())
}

/// A profiled step leaves the bits that it leaves unprofiled.
fn by_variable(device: &Device, name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for resident in [false, true] {
        let path = folder.path().join(format!("{resident}.json"));
        let on = if resident {
            format!("{name} resident")
        } else {
            name.to_string()
        };
        assert_eq!(fit(&on, Some(&path))?, fit(&on, None)?);
        let model = model(&digits()?, device, resident)?;
        check_trace(&path, model.plan(), 3..8)?;
    }
    let nowhere = fit(name, Some(&folder.path().join("nowhere/profile.json")));
    let error = nowhere.err().ok_or("trained without a place to write")?;
    let error = error.message().unwrap_or_default();
    assert!(error.contains("nowhere"), "{error}");
    Ok(())
}

/// Devices that read their clock between passes only, or not at all.
#[cfg(feature = "gpu")]
fn poor_clocks() -> Result<(), Failed> {
    let between_passes = gradus::wgpu::Features::TIMESTAMP_QUERY;
    for (features, clock) in [
        (
            between_passes,
            "device timestamps, one pass for each kernel",
        ),
        (gradus::wgpu::Features::empty(), "host clock"),
    ] {
        let Some(device) = pollster::block_on(with_features(features))? else {
            continue;
        };
        by_call(&device, clock)?;
    }
    Ok(())
}

/// Any device with these features and no others; `None` if they are lacking.
#[cfg(feature = "gpu")]
async fn with_features(features: gradus::wgpu::Features) -> Result<Option<Device>, Failed> {
    use gradus::wgpu;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default());
    let adapter = adapter.await?;
    if !adapter.features().contains(features) {
        return Ok(None);
    }
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features,
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await?;
    Ok(Some(Device::from_wgpu(device, queue)))
}

fn main() {
    if let Ok(device) = std::env::var(CHILD) {
        if let Err(error) = child(&device) {
            eprintln!("{error:?}");
        }
        return;
    }
    let gpu = Gpu::from_env();
    let trials = vec![
        Trial::test("call/cpu", || by_call(&Device::cpu(), "host clock")),
        gpu.trial("call/gpu", |device| by_call(device, "")),
        Trial::test("variable/cpu", || by_variable(&Device::cpu(), "cpu")),
        gpu.trial("call/poor clocks", |_| {
            #[cfg(feature = "gpu")]
            poor_clocks()?;
            Ok(())
        }),
        gpu.trial("variable/gpu", |device| by_variable(device, "gpu")),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
