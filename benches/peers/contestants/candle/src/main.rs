//! candle on the CPU.
#![forbid(unsafe_code)]

mod matmul;
mod mlp;

use anyhow::Result;
use candle_core::Device;
use workload::{Task, Workload, serve, version};

const CPU: Device = Device::Cpu;

fn main() -> Result<()> {
    serve(|workload| {
        let about = format!("candle {}, gemm with x86-v4", version("candle-core"));
        let task: Box<dyn Task> = match workload {
            Workload::Matmul(matmul) => Box::new(matmul::Product::new(matmul)?),
            Workload::Mlp(mlp) => Box::new(mlp::Training::new(&mlp)?),
        };
        Ok(Some((task, about)))
    })
}
