//! The machine: its devices, and what to say of it beside a figure.

use std::process::Command;

use anyhow::{Result, bail};
use gradus::graph::backend::{ModelMemory, Runtime};
use gradus::train::Device;

/// What to measure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Fewer and shorter turns: to see that everything runs.
    pub(crate) quick: bool,
    /// Show every kernel of the steps that are profiled.
    pub(crate) kernels: bool,
    /// Names of devices; empty for all.
    on: Vec<String>,
    /// Words in the names of cases; empty for all.
    words: Vec<String>,
}

impl Options {
    pub(crate) fn from_args(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--kernels" => options.kernels = true,
                "--on" => {
                    let Some(names) = args.next() else {
                        bail!("--on needs names of devices")
                    };
                    options.on = names.split(',').map(str::to_string).collect();
                }
                option if option.starts_with("--") => {
                    bail!("no option {option}; there are --quick, --kernels and --on cpu,llvmpipe")
                }
                _ => options.words.push(arg),
            }
        }
        Ok(options)
    }

    /// Is this case wanted?
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| case.contains(word.as_str()))
    }
}

/// The named devices; without names the CPU, a hardware GPU and lavapipe, those that there are.
pub(crate) fn devices(options: &Options) -> Result<Vec<Device>> {
    if options.on.is_empty() {
        let others = [Device::gpu(), Device::named("llvmpipe")];
        let found = others.into_iter().filter_map(Result::ok);
        return Ok(std::iter::once(Device::cpu()).chain(found).collect());
    }
    options
        .on
        .iter()
        .map(|name| Ok(Device::named(name)?))
        .collect()
}

/// A short name for the table.
pub(crate) fn short_name(device: &Device) -> String {
    let name = device.to_string();
    let quoted = name.split('"').nth(1).unwrap_or("executor");
    quoted.split(" (").next().unwrap_or(quoted).to_string()
}

/// Memory for plans on a device, and the means to run them.
pub(crate) fn runtime(device: &Device, memory: ModelMemory) -> Result<Box<dyn Runtime>> {
    Ok(device.runtime(memory)?)
}

/// Machine, devices, drivers and versions.
pub(crate) fn print(devices: &[Device]) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "processor  {}, {cores} threads",
        processor().unwrap_or_else(|| "unknown".into())
    );
    for device in devices {
        let runtime = runtime(device, ModelMemory::default())?;
        println!("device     {}: {}", short_name(device), runtime.describe());
    }
    for name in ["RAYON_NUM_THREADS", "LP_NUM_THREADS"] {
        if let Ok(value) = std::env::var(name) {
            println!("setting    {name}={value}");
        }
    }
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string());
    let crates = ["gradus", "gemm-f32", "wgpu", "naga"];
    let versions: Vec<String> = crates
        .iter()
        .filter_map(|name| Some(format!("{name} {}", version(name)?)))
        .collect();
    println!(
        "versions   {}, {}",
        rustc.unwrap_or_default(),
        versions.join(", ")
    );
    Ok(())
}

/// The model of the processor, where the system says it in a file.
fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split(':').nth(1)?.trim().to_string())
}

/// The version of a crate that this was built with.
fn version(name: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, entry) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    entry.split('"').next()
}
