//! Training steps of a multilayer perceptron.

use anyhow::Result;
use meganeura::{Graph, Session, build_session};
use workload::{ADAM, Mlp, Task};

pub(crate) struct Training {
    pub(crate) session: Session,
    inputs: Vec<Vec<f32>>,
    labels: Vec<Vec<f32>>,
    steps: usize,
}

impl Training {
    pub(crate) fn new(mlp: &Mlp) -> Self {
        let layers = mlp.layers();
        let mut graph = Graph::new();
        let mut x = graph.input("x", &[mlp.batch, mlp.widths[0]]);
        let y = graph.input("y", &[mlp.batch, mlp.classes()]);
        for (l, dense) in layers.iter().enumerate() {
            let weight = graph.parameter(&format!("{l}.weight"), &[dense.inputs, dense.outputs]);
            let bias = graph.parameter(&format!("{l}.bias"), &[dense.outputs]);
            x = graph.matmul(x, weight);
            x = graph.bias_add(x, bias);
            if l + 1 < layers.len() {
                x = graph.relu(x);
            }
        }
        let loss = graph.cross_entropy_loss(x, y);
        graph.set_outputs(vec![loss]);
        let mut session = build_session(&graph);
        for (l, dense) in layers.iter().enumerate() {
            session.set_parameter(&format!("{l}.weight"), &dense.transposed());
            session.set_parameter(&format!("{l}.bias"), &vec![0.0; dense.outputs]);
        }
        let [rate, beta1, beta2, eps] =
            [ADAM.learning_rate, ADAM.beta1, ADAM.beta2, ADAM.eps].map(|v| v as f32);
        session.set_adam(rate, beta1, beta2, eps);
        Self {
            session,
            inputs: mlp.inputs(),
            labels: mlp.one_hot(),
            steps: 0,
        }
    }
}

impl Task for Training {
    fn step(&mut self) -> Result<Vec<f32>> {
        self.run(1)?;
        Ok(vec![self.session.read_loss()])
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            let x = &self.inputs[self.steps % self.inputs.len()];
            let y = &self.labels[self.steps % self.labels.len()];
            self.session.set_input("x", x);
            self.session.set_input("y", y);
            self.session.step();
            self.steps += 1;
        }
        self.session.wait();
        Ok(())
    }
}
