//! Training steps of a GPT.

use anyhow::Result;
use candle_core::{D, Module, Tensor, Var};
use candle_nn::{Embedding, LayerNorm, Linear, ops, seq};
use workload::{ADAMW, Block, Gpt};

use crate::CPU;
use crate::training::{Training, integers, linear, parameters};

pub(crate) fn training(gpt: Gpt) -> Result<Training> {
    let mut variables = Vec::new();
    let mut variable = |values, shape: (usize, usize)| -> Result<Tensor> {
        let variable = Var::from_vec(values, shape, &CPU)?;
        let tensor = variable.as_tensor().clone();
        variables.push(variable);
        Ok(tensor)
    };
    let table = variable(gpt.table(), (gpt.tokens, gpt.width))?;
    let positions = variable(gpt.positions(), (gpt.length, gpt.width))?;
    let head = variable(gpt.head().weight, (gpt.tokens, gpt.width))?;
    let mut net = seq()
        .add(Embedding::new(table, gpt.width))
        .add_fn(move |x| x.broadcast_add(&positions));
    let hidden = (0..gpt.length).flat_map(|query| (0..gpt.length).map(move |key| key > query));
    let mask = hidden.map(|hidden| if hidden { f32::NEG_INFINITY } else { 0.0 });
    let mask = Tensor::from_iter(mask, &CPU)?.reshape((gpt.length, gpt.length))?;
    for block in gpt.blocks() {
        let attention = Attention::new(&gpt, &block, mask.clone(), &mut variables)?;
        let norm1 = Norm::new(gpt.width, &mut variables)?;
        let norm2 = Norm::new(gpt.width, &mut variables)?;
        let up = linear(block.up, &mut variables)?;
        let down = linear(block.down, &mut variables)?;
        net = net
            .add_fn(move |x| x + attention.forward(&norm1.forward(x)?)?)
            .add_fn(move |x| x + down.forward(&up.forward(&norm2.forward(x)?)?.gelu_erf()?)?);
    }
    net = net.add(Norm::new(gpt.width, &mut variables)?);
    net = net.add_fn(|x| x.flatten_to(1)).add(Linear::new(head, None));
    let inputs = integers(gpt.inputs(), &[gpt.batch, gpt.length])?;
    let labels = integers(gpt.labels(), &[gpt.batch * gpt.length])?;
    Training::by(&ADAMW, net, variables, inputs, labels)
}

/// Its own with a bias has no gradient.
struct Norm {
    scaled: LayerNorm,
    bias: Tensor,
}

impl Norm {
    fn new(width: usize, variables: &mut Vec<Var>) -> Result<Self> {
        let [weight, bias] = parameters(vec![1.0; width], &[width], variables)?;
        let scaled = LayerNorm::new_no_bias(weight, 1e-5);
        Ok(Self { scaled, bias })
    }
}

impl Module for Norm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.scaled.forward(x)?.broadcast_add(&self.bias)
    }
}

struct Attention {
    qkv: Linear,
    out: Linear,
    heads: usize,
    /// Added to scores.
    mask: Tensor,
}

impl Attention {
    fn new(gpt: &Gpt, block: &Block, mask: Tensor, variables: &mut Vec<Var>) -> Result<Self> {
        Ok(Self {
            qkv: linear(block.qkv.clone(), variables)?,
            out: linear(block.out.clone(), variables)?,
            heads: gpt.heads,
            mask,
        })
    }
}

impl Module for Attention {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let size = width / self.heads;
        let heads = self.qkv.forward(x)?;
        let heads = heads.reshape((batch, length, 3, self.heads, size))?;
        let part = |i| {
            heads
                .narrow(2, i, 1)?
                .squeeze(2)?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?)? / (size as f64).sqrt())?;
        let weights = ops::softmax(&scores.broadcast_add(&self.mask)?, D::Minus1)?;
        let y = weights.matmul(&v)?.transpose(1, 2)?;
        self.out.forward(&y.reshape((batch, length, width))?)
    }
}
