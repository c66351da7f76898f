//! candle on the CPU.
#![forbid(unsafe_code)]

mod cnn;
mod gpt;
mod matmul;
mod mlp;
mod training;

use anyhow::Result;
use candle_core::Device;
use workload::{Task, Workload, serve, version};

const CPU: Device = Device::Cpu;

fn main() -> Result<()> {
    serve(|workload| {
        let about = format!("candle {}, gemm with x86-v4", version("candle-core"));
        let task: Box<dyn Task> = match workload {
            Workload::Matmul(matmul) => Box::new(matmul::Product::new(matmul)?),
            Workload::Mlp(mlp) => Box::new(mlp::training(&mlp)?),
            Workload::Cnn(cnn) => Box::new(cnn::training(&cnn)?),
            Workload::Gpt(gpt) => Box::new(gpt::training(gpt)?),
        };
        Ok(Some((task, about)))
    })
}
