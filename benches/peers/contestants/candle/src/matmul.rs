//! A product of two tensors.

use anyhow::Result;
use candle_core::Tensor;
use workload::{Matmul, Task};

use crate::CPU;

pub(crate) struct Product {
    matmul: Matmul,
    factors: [Tensor; 2],
}

impl Product {
    pub(crate) fn new(matmul: Matmul) -> Result<Self> {
        let [a, b] = matmul.factors();
        let shape = (matmul.size, matmul.size);
        let factors = [
            Tensor::from_vec(a, shape, &CPU)?,
            Tensor::from_vec(b, shape, &CPU)?,
        ];
        Ok(Self { matmul, factors })
    }
}

impl Task for Product {
    fn step(&mut self) -> Result<Vec<f32>> {
        let [a, b] = &self.factors;
        let c = a.matmul(b)?.flatten_all()?.to_vec1()?;
        Ok(self.matmul.sample(&c))
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        let [a, b] = &self.factors;
        for _ in 0..steps {
            a.matmul(b)?;
        }
        Ok(())
    }
}
