"""Training steps of a GPT: see `workload/src/gpt.rs`."""

import numpy as np
import training
from data import integers, symmetric

LEARNING_RATE, DECAY = 1e-4, 0.01


def inputs(tokens, batch, length):
    streams = [integers(10 + i, batch * length, tokens) for i in range(4)]
    return [x.astype(np.int64).reshape(batch, length) for x in streams]


def weights(tokens, width, layers, length):
    """Of tokens, positions, the dense layers `[outputs, inputs]` of each block, and the head."""
    sizes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    blocks = [
        [training.weight(102 + 4 * l + k, *size) for k, size in enumerate(sizes)]
        for l in range(layers)
    ]
    table, positions = symmetric(100, 1, tokens, width), symmetric(101, 1, length, width)
    return table, positions, blocks, training.weight(102 + 4 * layers, tokens, width)


class Torch(training.Torch):
    def __init__(self, tokens, width, heads, layers, batch, length, fused=None):
        import torch
        from torch import nn

        def filled(layer, weight):
            training.fill(layer, weight)
            return layer

        def dense(weight, bias=True):
            return filled(nn.Linear(*reversed(weight.shape), bias=bias), weight)

        class Attention(nn.Module):
            def __init__(self, qkv, out):
                super().__init__()
                self.qkv, self.out = dense(qkv), dense(out)

            def forward(self, x):
                parts = self.qkv(x).view(batch, length, 3, heads, width // heads)
                q, k, v = parts.permute(2, 0, 3, 1, 4)
                y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                return self.out(y.transpose(1, 2).reshape(batch, length, width))

        class Block(nn.Module):
            def __init__(self, qkv, out, up, down):
                super().__init__()
                self.attention = nn.Sequential(nn.LayerNorm(width), Attention(qkv, out))
                self.hidden = nn.Sequential(
                    nn.LayerNorm(width), dense(up), nn.GELU(), dense(down)
                )

            def forward(self, x):
                x = x + self.attention(x)
                return x + self.hidden(x)

        class Embedded(nn.Module):
            def __init__(self, table, positions):
                super().__init__()
                self.tokens = filled(nn.Embedding(tokens, width), table)
                self.positions = nn.Parameter(torch.from_numpy(positions))

            def forward(self, x):
                return self.tokens(x) + self.positions

        table, positions, blocks, head = weights(tokens, width, layers, length)
        net = nn.Sequential(
            Embedded(table, positions),
            *(Block(*block) for block in blocks),
            nn.LayerNorm(width),
            dense(head, bias=False),
            nn.Flatten(0, 1),
        )
        betas = (training.BETA1, training.BETA2)
        adamw = lambda parameters: torch.optim.AdamW(
            parameters, LEARNING_RATE, betas, training.EPS, DECAY, fused=fused
        )
        labels = training.labels(batch * length, tokens)
        super().__init__(inputs(tokens, batch, length), labels, net, adamw)


class TorchFused(Torch):
    def __init__(self, **sizes):
        super().__init__(**sizes, fused=True)


class Jax(training.Jax):
    def __init__(self, tokens, width, heads, layers, batch, length):
        import jax
        from jax import numpy as jnp

        def norm(affine, x):
            weight, bias = affine
            x = jax.nn.standardize(x, epsilon=1e-5)
            return x * weight + bias

        def dense(layer, x):
            weight, bias = layer
            return x @ weight + bias

        def block(x, parameters):
            norm1, qkv, out, norm2, up, down = parameters
            parts = dense(qkv, norm(norm1, x)).reshape(batch, length, 3, heads, width // heads)
            q, k, v = (parts[:, :, i] for i in range(3))
            y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            x = x + dense(out, y.reshape(batch, length, width))
            h = jax.nn.gelu(dense(up, norm(norm2, x)), approximate=False)
            return x + dense(down, h)

        def logits(parameters, x):
            table, positions, blocks, last, head = parameters
            x = table[x] + positions
            for layer in blocks:
                x = block(x, layer)
            return norm(last, x) @ head

        def pair(weight):
            return weight.T, np.zeros(weight.shape[0], weight.dtype)

        def whole():
            return np.ones(width, np.float32), np.zeros(width, np.float32)

        table, positions, blocks, head = weights(tokens, width, layers, length)
        blocks = [
            (whole(), pair(qkv), pair(out), whole(), pair(up), pair(down))
            for qkv, out, up, down in blocks
        ]
        parameters = (table, positions, blocks, whole(), head.T)
        labels = training.labels(batch * length, tokens)
        labels = [y.reshape(batch, length) for y in labels]
        data = inputs(tokens, batch, length)
        super().__init__(data, labels, logits, parameters, LEARNING_RATE, DECAY)


LIBRARIES = {"torch": Torch, "torch-fused": TorchFused, "jax": Jax}
