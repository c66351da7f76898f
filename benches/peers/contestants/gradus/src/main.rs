//! Gradus on the device that its argument names: `cpu`, `gpu`, or part of an adapter's name.
#![forbid(unsafe_code)]

mod cnn;
mod gpt;
mod matmul;
mod mlp;
mod training;

use anyhow::{Context, Result};
use gradus::graph::backend::ModelMemory;
use gradus::train::Device;
use workload::{Task, Workload, serve, version};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("a device is missing")?;
    serve(|workload| {
        let device = device(&name)?;
        let task: Box<dyn Task> = match workload {
            Workload::Matmul(matmul) => Box::new(matmul::Product::new(matmul, &device)?),
            Workload::Mlp(mlp) => Box::new(mlp::training(&mlp, &device)?),
            Workload::Cnn(cnn) => Box::new(cnn::training(&cnn, &device)?),
            Workload::Gpt(gpt) => Box::new(gpt::training(gpt, &device)?),
        };
        let on = device.runtime(ModelMemory::default())?.describe();
        Ok(Some((
            task,
            format!("gradus {} on {on}", version("gradus")),
        )))
    })
}

/// As peers do, `gpu` makes do with a software device.
fn device(name: &str) -> Result<Device> {
    let device = match name {
        "gpu" => Device::gpu().or_else(|_| Device::named("software")),
        name => Device::named(name),
    };
    Ok(device?)
}
