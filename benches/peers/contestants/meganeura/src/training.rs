//! Training steps of a network.

use anyhow::Result;
use meganeura::{Graph, NodeId, Session, build_session};
use workload::{ADAM, Adam, Task};

/// What the input `x` takes.
pub(crate) enum Values {
    Numbers(Vec<f32>),
    Tokens(Vec<u32>),
}

pub(crate) struct Training {
    pub(crate) session: Session,
    inputs: Vec<Values>,
    labels: Vec<Vec<f32>>,
    steps: usize,
}

impl Training {
    /// `logits` makes them of the inputs; `parameters` are the values of those that it made.
    pub(crate) fn new(
        graph: Graph,
        logits: NodeId,
        parameters: &[(String, Vec<f32>)],
        inputs: Vec<Vec<f32>>,
        labels: Vec<Vec<f32>>,
    ) -> Self {
        let inputs = inputs.into_iter().map(Values::Numbers).collect();
        Self::by(&ADAM, graph, logits, parameters, inputs, labels)
    }

    /// The same with these settings of the optimizer.
    pub(crate) fn by(
        settings: &Adam,
        mut graph: Graph,
        logits: NodeId,
        parameters: &[(String, Vec<f32>)],
        inputs: Vec<Values>,
        labels: Vec<Vec<f32>>,
    ) -> Self {
        let shape = graph.node(logits).ty.shape.clone();
        let y = graph.input("y", &shape);
        let loss = graph.cross_entropy_loss(logits, y);
        graph.set_outputs(vec![loss]);
        let mut session = build_session(&graph);
        for (name, values) in parameters {
            session.set_parameter(name, values);
        }
        // The first step of a network with convolutions computes with zeros. Without an optimizer
        // it changes nothing.
        session.step();
        session.wait();
        let [rate, beta1, beta2, eps, decay] = [
            settings.learning_rate,
            settings.beta1,
            settings.beta2,
            settings.eps,
            settings.weight_decay,
        ]
        .map(|v| v as f32);
        session.set_adam(rate, beta1, beta2, eps);
        session.set_weight_decay(decay);
        Self {
            session,
            inputs,
            labels,
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
            match x {
                Values::Numbers(x) => self.session.set_input("x", x),
                Values::Tokens(x) => self.session.set_input_u32("x", x),
            }
            self.session.set_input("y", y);
            self.session.step();
            self.steps += 1;
        }
        self.session.wait();
        Ok(())
    }
}

/// Adds a dense layer and what its parameters start with.
pub(crate) fn dense(
    graph: &mut Graph,
    x: NodeId,
    name: &str,
    layer: &workload::Dense,
    parameters: &mut Vec<(String, Vec<f32>)>,
) -> NodeId {
    let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
    let w = graph.parameter(&weight, &[layer.inputs, layer.outputs]);
    let b = graph.parameter(&bias, &[layer.outputs]);
    parameters.push((weight, layer.transposed()));
    parameters.push((bias, vec![0.0; layer.outputs]));
    let y = graph.matmul(x, w);
    graph.bias_add(y, b)
}
