//! The product of `cargo bench`.

#[path = "../../../../planned.rs"]
#[allow(dead_code, reason = "`cargo bench` does more with it")]
mod planned;

use anyhow::Result;
use gradus::nn::init::Zeros;
use gradus::train::Device;
use planned::Planned;
use workload::{Matmul, Task};

pub(crate) struct Product {
    matmul: Matmul,
    planned: Planned,
}

impl Product {
    pub(crate) fn new(matmul: Matmul, device: &Device) -> Result<Self> {
        let planned = Planned::new(device, &matmul.factors(), |scope| {
            let factor = |name| scope.param(name, [matmul.size; 2], Zeros);
            factor("a").matmul(factor("b"))
        })?;
        Ok(Self { matmul, planned })
    }
}

impl Task for Product {
    fn step(&mut self) -> Result<Vec<f32>> {
        self.planned.run(1)?;
        Ok(self.matmul.sample(&self.planned.result(0)?))
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        self.planned.run(steps)
    }
}
