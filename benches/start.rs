//! From the start of a process to its first loss, and the memory it then needs: each time in a
//! process of its own, with the driver's cache of shaders empty, and full.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gradus::train::Device;

use crate::figure::{Bar, Figure};
use crate::harness::{Effort, Spread, cpu_time};
use crate::machine::{self, Options};
use crate::networks::{NETWORKS, Network};

/// The first argument of such a process.
pub(crate) const CHILD: &str = "--first-step";

/// Steps after which memory no longer grows.
const STEPS: usize = 20;

/// Where drivers keep compiled shaders: Mesa's, NVIDIA's, and what others look at.
const CACHES: [&str; 3] = [
    "MESA_SHADER_CACHE_DIR",
    "__GL_SHADER_DISK_CACHE_PATH",
    "XDG_CACHE_HOME",
];

pub(crate) fn figures(
    devices: &[Device],
    options: &Options,
    effort: Effort,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (number, network) in NETWORKS.iter().enumerate() {
        let name = format!("first step, {}", network.name());
        if !options.wants(&name) {
            continue;
        }
        for device in devices {
            let on = || format!("{name} on {}", machine::short_name(device));
            figures.extend(of(device, number, network, effort.repeats).with_context(on)?);
        }
    }
    Ok(figures)
}

fn of(device: &Device, number: usize, network: &Network, repeats: usize) -> Result<Vec<Figure>> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let caches = tempfile::tempdir()?;
        for starts in [&mut cold, &mut warm] {
            starts.push(Start::measure(device, number, caches.path())?);
        }
    }
    let figure = |what: &str, unit, value: Spread| Figure {
        what: format!("{what}, {}", network.name()),
        on: machine::short_name(device),
        unit,
        value,
        cpu: None,
        bar: None,
        detail: None,
    };
    let seconds = |what, most, starts: &[Start]| {
        let cpu: Option<Vec<f64>> = starts.iter().map(|s| s.cpu).collect();
        let wall = Spread::of(starts.iter().map(|s| s.wall).collect());
        Figure {
            cpu: cpu.map(Spread::of),
            bar: (network.batch == 64).then_some(Bar::AtMost(most)),
            ..figure(what, "s", wall)
        }
    };
    let mut figures = Vec::new();
    if device.is_cpu() {
        figures.push(seconds("first step", 0.05, &cold));
    } else {
        figures.push(seconds("first step, cold", 1.5, &cold));
        figures.push(seconds("first step, warm", 0.2, &warm));
    }
    let mebibytes = |of: fn(&Start) -> Option<u64>| -> Option<Spread> {
        let bytes = warm.iter().map(|start| Some(of(start)? as f64));
        let mebibytes = bytes.map(|bytes| Some(bytes? / f64::from(1 << 20)));
        Some(Spread::of(mebibytes.collect::<Option<_>>()?))
    };
    for (what, size) in [
        ("peak memory of the process", mebibytes(|start| start.peak)),
        ("memory by the plan", mebibytes(|start| Some(start.bill))),
    ] {
        figures.extend(size.map(|size| figure(what, "MiB", size)));
    }
    Ok(figures)
}

/// One process.
struct Start {
    /// Seconds to the first loss.
    wall: f64,
    cpu: Option<f64>,
    /// The most bytes that were resident.
    peak: Option<u64>,
    /// The bytes of all buffers of the plan.
    bill: u64,
}

impl Start {
    fn measure(device: &Device, number: usize, caches: &Path) -> Result<Self> {
        let name = if device.is_cpu() {
            "cpu".into()
        } else {
            machine::short_name(device)
        };
        let begin = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .args([CHILD, &name, &number.to_string()])
            .envs(CACHES.map(|variable| (variable, caches)))
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut line = || {
            lines
                .next()
                .context("the process ended early")?
                .map_err(anyhow::Error::from)
        };
        let first = line()?;
        let wall = begin.elapsed().as_secs_f64();
        let last = line()?;
        ensure!(process.wait()?.success(), "the process failed");
        let (loss, cpu) = first.split_once(' ').context("no loss")?;
        ensure!(loss.parse::<f64>()?.is_finite(), "the loss is {loss}");
        let (bill, peak) = last.split_once(' ').context("no bill")?;
        Ok(Self {
            wall,
            cpu: cpu.parse().ok(),
            peak: peak.parse().ok(),
            bill: bill.parse()?,
        })
    }
}

/// The process: prints its first loss and processor time; some steps later the bytes of the bill
/// and those that were resident.
pub(crate) fn child(mut args: impl Iterator<Item = String>) -> Result<()> {
    let device = Device::named(&args.next().context("no device")?)?;
    let number: usize = args.next().context("no network")?.parse()?;
    let network = NETWORKS.get(number).context("no such network")?;
    let mut model = network.model(&device)?;
    let batch = network.batches()?.swap_remove(0);
    let ticket = model.step(&batch)?;
    let loss = model.wait(ticket)?.loss();
    let cpu = cpu_time().map(|time| time.as_secs_f64().to_string());
    println!("{loss} {}", cpu.unwrap_or_default());
    for _ in 0..STEPS {
        model.step(&batch)?;
    }
    model.last_loss()?;
    let bill = &model.plan().bill;
    let bytes = bill.slabs + bill.transient + bill.other;
    let peak = peak_memory().map(|bytes| bytes.to_string());
    println!("{bytes} {}", peak.unwrap_or_default());
    Ok(())
}

/// The most bytes of this process that were resident, where the system says it in a file.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kibibytes)
}
