//! Training steps of a GPT: that of `examples/shared/gpt.rs`.

use anyhow::Result;
use gradus::nn::{LayerNorm, LearnedPositions, TransformerEncoderLayer};
use gradus::prelude::*;
use workload::{ADAMW, Gpt};

use crate::training::{Given, Training, integers};

struct Network(Gpt);

impl Layer for Network {
    fn forward<'g>(&self, scope: &Scope<'g>, x: Var<'g>) -> Var<'g> {
        let gpt = &self.0;
        let tokens = Embedding::new(gpt.tokens, gpt.width).weight_init(Given(gpt.table()));
        let positions = LearnedPositions::new(gpt.length).weight_init(Given(gpt.positions()));
        let x = scope.apply("tokens", &tokens, x);
        let mut x = scope.apply("positions", &positions, x);
        let layer = TransformerEncoderLayer::new(gpt.heads).causal();
        for i in 0..gpt.layers {
            x = scope.child("layers").apply(&i.to_string(), &layer, x);
        }
        let x = scope.apply("norm", &LayerNorm::new(), x);
        let head = Dense::new(gpt.tokens).weight_init(Given(gpt.head().weight));
        scope.apply("head", &head.no_bias(), x)
    }
}

pub(crate) fn training(gpt: Gpt, device: &Device) -> Result<Training> {
    let adamw = AdamW::new(ADAMW.learning_rate)
        .betas(ADAMW.beta1, ADAMW.beta2)
        .eps(ADAMW.eps)
        .weight_decay(ADAMW.weight_decay);
    let settings = Compile::new()
        .input("x", gpt.length, DType::I32)
        .target(gpt.length, DType::I32)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(adamw)
        .batch(gpt.batch);
    let shape = [gpt.batch, gpt.length];
    let inputs = integers(gpt.inputs(), &shape)?;
    let labels = integers(gpt.labels(), &shape)?;
    let blocks = gpt.blocks();
    let mut model = Network(gpt).compile(settings)?;
    // A layer makes its weights itself.
    for (l, block) in blocks.into_iter().enumerate() {
        for (name, dense) in [
            ("self_attn.in_proj_weight", block.qkv),
            ("self_attn.out_proj.weight", block.out),
            ("linear1.weight", block.up),
            ("linear2.weight", block.down),
        ] {
            let values = Array::new([dense.outputs, dense.inputs], dense.weight)?;
            model.set_parameter(&format!("layers.{l}.{name}"), &values)?;
        }
    }
    Ok(Training::of_model(model, inputs, labels))
}
