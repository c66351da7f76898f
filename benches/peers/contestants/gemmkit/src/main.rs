//! The `gemmkit` crate by itself; it picks AVX-512 when it runs.
#![forbid(unsafe_code)]

use anyhow::Result;
use gemmkit::{MatMut, MatRef, Parallelism, Workspace, gemm_with};
use workload::{Matmul, Task, Workload, serve, version};

fn main() -> Result<()> {
    serve(|workload| {
        let Workload::Matmul(matmul) = workload else {
            return Ok(None);
        };
        let product = Product {
            factors: matmul.factors(),
            c: vec![0.0; matmul.size * matmul.size],
            matmul,
            workspace: Workspace::new(),
        };
        Ok(Some((
            Box::new(product),
            format!("gemmkit {}", version("gemmkit")),
        )))
    })
}

struct Product {
    matmul: Matmul,
    factors: [Vec<f32>; 2],
    c: Vec<f32>,
    workspace: Workspace,
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
            gemm_with(
                &mut self.workspace,
                1.0,
                MatRef::new(a, n, n, row, 1),
                MatRef::new(b, n, n, row, 1),
                0.0,
                MatMut::new(&mut self.c, n, n, row, 1),
                Parallelism::Rayon(0),
            );
        }
        Ok(())
    }
}
