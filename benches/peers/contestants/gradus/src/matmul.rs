//! The product of `cargo bench`.

#[path = "../../../../product.rs"]
mod product;

use anyhow::Result;
use gradus::train::Device;
use workload::{Matmul, Task};

pub(crate) struct Product {
    matmul: Matmul,
    product: product::Product,
}

impl Product {
    pub(crate) fn new(matmul: Matmul, device: &Device) -> Result<Self> {
        let product = product::Product::new(device, matmul.size, &matmul.factors())?;
        Ok(Self { matmul, product })
    }
}

impl Task for Product {
    fn step(&mut self) -> Result<Vec<f32>> {
        self.product.run(1)?;
        Ok(self.matmul.sample(&self.product.result()?))
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        self.product.run(steps)
    }
}
