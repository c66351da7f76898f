//! Burn, on whichever backend its device belongs to.
#![forbid(unsafe_code)]

mod cnn;
mod gpt;
mod matmul;
mod mlp;
mod training;

use anyhow::Result;
use burn::tensor::Device;
use workload::{Task, Workload, serve, version};

/// Races on a device; `about` names it.
pub fn race(device: impl Fn() -> Device, about: impl Fn(&Device) -> String) -> Result<()> {
    serve(|workload| {
        let device = device();
        let task: Box<dyn Task> = match workload {
            Workload::Matmul(matmul) => Box::new(matmul::Product::new(matmul, device.clone())),
            Workload::Mlp(mlp) => Box::new(mlp::training(&mlp, &device.clone().autodiff())),
            Workload::Cnn(cnn) => Box::new(cnn::training(&cnn, &device.clone().autodiff())),
            Workload::Gpt(gpt) => Box::new(gpt::training(&gpt, &device.clone().autodiff())),
        };
        Ok(Some((
            task,
            format!("burn {}, {}", version("burn"), about(&device)),
        )))
    })
}
