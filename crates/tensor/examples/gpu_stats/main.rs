//! What AMD's compiler makes of our shaders: registers, spills, waves. Needs no GPU, only Mesa's
//! RADV with its null device; fails if a shader that GPUs can gain by spills, or a tiled product
//! leaves fewer than eight waves per SIMD. The variants for software devices are listed all the same.
//!
//! Without arguments a table of all variants, each with the worst of its shaders; with arguments
//! every shader whose kernel or variant has one of them in its name.
#![allow(clippy::print_stdout, reason = "a measuring tool")]

#[path = "../../tests/support/attentions.rs"]
mod attentions;
#[path = "../../tests/support/convs.rs"]
mod convs;
mod driver;
#[path = "../../tests/support/kernels.rs"]
mod kernels;
#[path = "../../tests/support/mlp.rs"]
mod mlp;
#[path = "../../tests/support/products.rs"]
mod products;
#[path = "../../tests/support/samples/mod.rs"]
mod samples;
#[path = "../../tests/support/shaders.rs"]
mod shaders;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use gradus_graph::Target;
use naga::back::spv;

use driver::{Driver, Statistics};
use mlp::Mlp;
use shaders::{Collection, Named, parse};

/// Waves per SIMD that a tiled product must leave, to hide the latency of memory.
const WAVES: u64 = 8;

const HEAD: &str = "\
| kernel | variant | for | shaders | VGPRs | spills | LDS bytes | waves/SIMD | inverse throughput |
|---|---|---|--:|--:|--:|--:|--:|--:|";

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let driver = Driver::open()?;
    println!("{}\n\n{HEAD}", driver.name());
    let mut table: BTreeMap<String, Line> = BTreeMap::new();
    let mut failures = Vec::new();
    for named in collect()? {
        let class = if named.for_gpus { "GPU" } else { "software" };
        let name = format!("{} | {} | {class}", named.kernel, named.variant);
        let statistics = statistics(&driver, &named).with_context(|| name.clone())?;
        let few_waves = named.variant.starts_with("tiled") && statistics.waves < WAVES;
        if named.for_gpus && (statistics.spills > 0 || few_waves) {
            failures.push(format!("{name}: {statistics}"));
        }
        if wanted.is_empty() {
            let name = format!("| {} | {class}", named.variant);
            table.entry(name).or_default().add(statistics);
        } else if wanted.iter().any(|part| name.contains(part)) {
            println!("| {name} | 1 | {statistics} |");
        }
    }
    for (name, line) in table {
        println!("| {name} | {} | {} |", line.shaders, line.worst);
    }
    ensure!(
        failures.is_empty(),
        "spills, or too few waves:\n{}",
        failures.join("\n")
    );
    Ok(())
}

/// Everything that tests compile, and the training plans of a network.
fn collect() -> Result<Vec<Named>> {
    let mut plans = Collection::default();
    let network = Mlp {
        dropout: 0.1,
        clip: Some(1.0),
        resident: Some(4096),
        ..Mlp::new(&[784, 512, 512, 10], 512)
    };
    for target in [Target::discrete(), Target::lavapipe()] {
        let plan = network.plan(&target)?;
        for kernel in &plan.kernels {
            plans.add(&kernel.label, &plan, kernel)?;
        }
    }
    let mut all = plans.shaders;
    all.extend(shaders::all()?);
    Ok(all)
}

fn statistics(driver: &Driver, named: &Named) -> Result<Statistics> {
    let (module, info) = parse(&named.shader).map_err(|e| anyhow!(e))?;
    // As wgpu does for our pipelines: nothing is checked, subgroups want SPIR-V 1.3.
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: naga::proc::BoundsCheckPolicies::default(),
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..spv::Options::default()
    };
    let words = spv::write_vec(&module, &info, &options, None)?;
    driver.compile(&words, &named.shader)
}

/// The worst of several shaders.
#[derive(Default)]
struct Line {
    shaders: usize,
    worst: Statistics,
}

impl Line {
    fn add(&mut self, new: Statistics) {
        let worst = &mut self.worst;
        *worst = if self.shaders == 0 {
            new
        } else {
            Statistics {
                vgprs: worst.vgprs.max(new.vgprs),
                spills: worst.spills.max(new.spills),
                lds: worst.lds.max(new.lds),
                waves: worst.waves.min(new.waves),
                inverse_throughput: worst.inverse_throughput.max(new.inverse_throughput),
            }
        };
        self.shaders += 1;
    }
}
