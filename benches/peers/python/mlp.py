"""Training steps of a multilayer perceptron: see `workload/src/mlp.rs`."""

import numpy as np
import training


def weights(widths):
    layers = enumerate(zip(widths, widths[1:]))
    return [training.weight(100 + i, n, m) for i, (m, n) in layers]


class Torch(training.TorchLayers):
    def __init__(self, widths, batch, fused=None):
        from torch.nn import Linear, ReLU

        modules = [module for m, n in zip(widths, widths[1:]) for module in (Linear(m, n), ReLU())]
        shape = (batch, widths[0])
        super().__init__(shape, widths[-1], modules[:-1], weights(widths), fused)


class TorchFused(Torch):
    def __init__(self, widths, batch):
        super().__init__(widths, batch, fused=True)


class Jax(training.Jax):
    def __init__(self, widths, batch):
        import jax

        def logits(layers, x):
            for i, (weight, bias) in enumerate(layers):
                x = (x if i == 0 else jax.nn.relu(x)) @ weight + bias
            return x

        layers = [(w.T, np.zeros(w.shape[0], w.dtype)) for w in weights(widths)]
        inputs = training.inputs((batch, widths[0]))
        super().__init__(inputs, training.labels(batch, widths[-1]), logits, layers)


LIBRARIES = {"torch": Torch, "torch-fused": TorchFused, "jax": Jax}
