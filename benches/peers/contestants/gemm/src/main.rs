//! The `gemm` crate by itself, with AVX-512.
#![allow(unsafe_code, reason = "gemm takes pointers")]

use anyhow::Result;
use gemm::{Parallelism, gemm};
use workload::{Matmul, Task, Workload, serve, version};

fn main() -> Result<()> {
    serve(|workload| {
        let Workload::Matmul(matmul) = workload else {
            return Ok(None);
        };
        let c = vec![0.0; matmul.size * matmul.size];
        let factors = matmul.factors();
        let product = Product { matmul, factors, c };
        Ok(Some((
            Box::new(product),
            format!("gemm {}, x86-v4", version("gemm")),
        )))
    })
}

struct Product {
    matmul: Matmul,
    factors: [Vec<f32>; 2],
    c: Vec<f32>,
}

impl Task for Product {
    fn step(&mut self) -> Result<Vec<f32>> {
        self.run(1)?;
        Ok(self.matmul.sample(&self.c))
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        let n = self.matmul.size;
        let row = n as isize;
        let [a, b] = &self.factors;
        for _ in 0..steps {
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), self.c.as_mut_ptr());
            let threads = Parallelism::Rayon(0);
            // SAFETY: all three have n × n elements, in rows of n.
            unsafe {
                gemm(
                    n, n, n, c, 1, row, false, a, 1, row, b, 1, row, 0.0, 1.0, false, false, false,
                    threads,
                );
            }
        }
        Ok(())
    }
}
