//! Training steps of a GPT.
//!
//! Its attention knows no batch: rows lie position by position here, those of all sequences one
//! after the other, and each sequence's heads are heads of one wide row. On llvmpipe the values have
//! no gradient.

use meganeura::{Graph, NodeId};
use workload::data::transpose;
use workload::{ADAMW, Dense, Gpt};

use crate::training::{Training, Values, dense};

pub(crate) fn training(gpt: &Gpt) -> Training {
    let mut net = Net {
        gpt,
        graph: Graph::new(),
        parameters: Vec::new(),
    };
    let rows = gpt.batch * gpt.length;
    let tokens = net.graph.input_u32("x", &[rows]);
    let table = net.parameter("tokens", &[gpt.tokens, gpt.width], gpt.table());
    let positions = net.parameter("positions", &[gpt.length, gpt.width], gpt.positions());
    let at = net.graph.input_u32("at", &[rows]);
    let tokens = net.graph.embedding(tokens, table);
    let positions = net.graph.embedding(at, positions);
    let mut x = net.graph.add(tokens, positions);
    for (l, block) in gpt.blocks().into_iter().enumerate() {
        x = net.block(x, &l.to_string(), &block);
    }
    x = net.norm(x, "norm");
    let head = gpt.head();
    let weight = net.parameter("head", &[head.inputs, head.outputs], head.transposed());
    let logits = net.graph.matmul(x, weight);
    let Net {
        graph, parameters, ..
    } = net;
    let by_position = |values: Vec<usize>| transpose(&values, gpt.length);
    let tokens = |x| {
        let x = by_position(x).into_iter();
        Values::Tokens(x.map(|token| token as u32).collect())
    };
    let one_hot = |labels| {
        let row = |label| (0..gpt.tokens).map(move |token| f32::from(token == label));
        by_position(labels).into_iter().flat_map(row).collect()
    };
    let inputs = gpt.inputs().into_iter().map(tokens).collect();
    let labels = gpt.labels().into_iter().map(one_hot).collect();
    let mut training = Training::by(&ADAMW, graph, logits, &parameters, inputs, labels);
    let at: Vec<u32> = (0..rows).map(|row| (row / gpt.batch) as u32).collect();
    training.session.set_input_u32("at", &at);
    training
}

struct Net<'a> {
    gpt: &'a Gpt,
    graph: Graph,
    parameters: Vec<(String, Vec<f32>)>,
}

impl Net<'_> {
    fn block(&mut self, x: NodeId, name: &str, block: &workload::Block) -> NodeId {
        let Gpt {
            width,
            heads,
            batch,
            length,
            ..
        } = *self.gpt;
        let normed = self.norm(x, &format!("{name}.norm1"));
        let thirds = block.qkv.thirds();
        let names = ["q", "k", "v"].map(|part| format!("{name}.{part}"));
        let [q, k, v] = [0, 1, 2].map(|part| {
            let y = self.dense(normed, &names[part], &thirds[part]);
            self.graph.reshape(y, &[length, batch * width])
        });
        let all = (batch * heads) as u32;
        let size = (width / heads) as u32;
        let y = self.graph.causal_attention(q, k, v, all, all, size);
        let y = self.graph.reshape(y, &[length * batch, width]);
        let y = self.dense(y, &format!("{name}.out"), &block.out);
        let x = self.graph.add(x, y);
        let normed = self.norm(x, &format!("{name}.norm2"));
        let h = self.dense(normed, &format!("{name}.up"), &block.up);
        let h = self.graph.gelu(h);
        let y = self.dense(h, &format!("{name}.down"), &block.down);
        self.graph.add(x, y)
    }

    fn parameter(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> NodeId {
        self.parameters.push((name.into(), values));
        self.graph.parameter(name, shape)
    }

    fn norm(&mut self, x: NodeId, name: &str) -> NodeId {
        let width = self.gpt.width;
        let weight = self.parameter(&format!("{name}.weight"), &[width], vec![1.0; width]);
        let bias = self.parameter(&format!("{name}.bias"), &[width], vec![0.0; width]);
        self.graph.layer_norm(x, weight, bias, 1e-5)
    }

    fn dense(&mut self, x: NodeId, name: &str, layer: &Dense) -> NodeId {
        dense(&mut self.graph, x, name, layer, &mut self.parameters)
    }
}
