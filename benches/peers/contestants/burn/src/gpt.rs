//! Training steps of a GPT.

use burn::module::{Module, Param};
use burn::nn::attention::{
    MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask,
};
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear};
use burn::optim::AdamWConfig;
use burn::tensor::activation::gelu;
use burn::tensor::{Bool, Device, Int, Tensor};
use workload::{ADAMW, Gpt};

use crate::training::{self, Training, integers, linear, matrix};

#[derive(Module, Debug)]
pub(crate) struct Network {
    tokens: Embedding,
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attention: MultiHeadAttention,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

/// Tokens, and which keys no query may see.
type Input = (Tensor<2, Int>, Tensor<3, Bool>);

impl training::Network<Input> for Network {
    fn logits(&self, (tokens, mask): Input) -> Tensor<2> {
        let mut x = self.tokens.forward(tokens) + self.positions.val().unsqueeze();
        for block in &self.blocks {
            x = block.forward(x, mask.clone());
        }
        self.head.forward(self.norm.forward(x)).flatten(0, 1)
    }
}

impl Block {
    fn forward(&self, x: Tensor<3>, mask: Tensor<3, Bool>) -> Tensor<3> {
        let input = MhaInput::self_attn(self.norm1.forward(x.clone())).mask_attn(mask);
        let x = x + self.attention.forward(input).context;
        let h = gelu(self.up.forward(self.norm2.forward(x.clone())));
        x + self.down.forward(h)
    }
}

pub(crate) fn training(gpt: &Gpt, device: &Device) -> Training<Network, Input> {
    let norm = || LayerNormConfig::new(gpt.width).init(device);
    let block = |block: workload::Block| Block {
        norm1: norm(),
        attention: attention(gpt, &block, device),
        norm2: norm(),
        up: linear(&block.up, device),
        down: linear(&block.down, device),
    };
    let network = Network {
        tokens: Embedding {
            weight: matrix(gpt.table(), [gpt.tokens, gpt.width], device),
        },
        positions: matrix(gpt.positions(), [gpt.length, gpt.width], device),
        blocks: gpt.blocks().into_iter().map(block).collect(),
        norm: norm(),
        head: Linear {
            bias: None,
            ..linear(&gpt.head(), device)
        },
    };
    let adamw = AdamWConfig::new()
        .with_beta_1(ADAMW.beta1 as f32)
        .with_beta_2(ADAMW.beta2 as f32)
        .with_epsilon(ADAMW.eps as f32)
        .with_weight_decay(ADAMW.weight_decay as f32);
    let mask = generate_autoregressive_mask(gpt.batch, gpt.length, device);
    let inputs = integers(gpt.inputs(), [gpt.batch, gpt.length], device);
    let inputs = inputs.into_iter().map(|x| (x, mask.clone())).collect();
    let labels = integers(gpt.labels(), [gpt.batch * gpt.length], device);
    Training::of_network(
        network,
        adamw.init(),
        ADAMW.learning_rate,
        inputs,
        labels,
        device,
    )
}

/// Burn's own layer has queries, keys and values apart.
fn attention(gpt: &Gpt, block: &workload::Block, device: &Device) -> MultiHeadAttention {
    let [query, key, value] = block.qkv.thirds().map(|dense| linear(&dense, device));
    MultiHeadAttention {
        query,
        key,
        value,
        output: linear(&block.out, device),
        ..MultiHeadAttentionConfig::new(gpt.width, gpt.heads)
            .with_dropout(0.0)
            .init(device)
    }
}
