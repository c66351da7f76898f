//! A product of two tensors.

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use workload::{Matmul, Task};

pub(crate) struct Product {
    matmul: Matmul,
    device: Device,
    factors: [Tensor<2>; 2],
}

impl Product {
    pub(crate) fn new(matmul: Matmul, device: Device) -> Self {
        let shape = [matmul.size; 2];
        let factors = matmul
            .factors()
            .map(|values| Tensor::from_data(TensorData::new(values, shape), &device));
        Self {
            matmul,
            device,
            factors,
        }
    }

    fn product(&self) -> Tensor<2> {
        let [a, b] = &self.factors;
        a.clone().matmul(b.clone())
    }
}

impl Task for Product {
    fn step(&mut self) -> Result<Vec<f32>> {
        let c = self.product().into_data();
        Ok(self.matmul.sample(c.as_slice().ok().context("not f32")?))
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            self.product();
        }
        self.device.sync()?;
        Ok(())
    }
}
