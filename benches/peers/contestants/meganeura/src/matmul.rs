//! A product of two parameters.

use anyhow::Result;
use meganeura::{Graph, Session, build_inference_session};
use workload::{Matmul, Task};

pub(crate) struct Product {
    matmul: Matmul,
    pub(crate) session: Session,
}

impl Product {
    pub(crate) fn new(matmul: Matmul) -> Self {
        let shape = [matmul.size; 2];
        let mut graph = Graph::new();
        let a = graph.parameter("a", &shape);
        let b = graph.parameter("b", &shape);
        let c = graph.matmul(a, b);
        graph.set_outputs(vec![c]);
        let mut session = build_inference_session(&graph);
        let [a, b] = matmul.factors();
        session.set_parameter("a", &a);
        session.set_parameter("b", &b);
        Self { matmul, session }
    }
}

impl Task for Product {
    fn step(&mut self) -> Result<Vec<f32>> {
        self.run(1)?;
        let c = self
            .session
            .read_output(self.matmul.size * self.matmul.size);
        Ok(self.matmul.sample(&c))
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            self.session.step();
        }
        self.session.wait();
        Ok(())
    }
}
