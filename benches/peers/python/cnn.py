"""Training steps of a convolutional network: see `workload/src/cnn.rs`."""

import numpy as np
import training


def weights(side, channels, classes):
    """Of the convolutions `[outputs, inputs, 3, 3]`, of the dense layer `[outputs, inputs]`."""
    layers = enumerate(zip(channels, channels[1:]))
    convolutions = [training.weight(100 + i, n, m, 3, 3) for i, (m, n) in layers]
    pools = len(convolutions)
    inputs = channels[-1] * (side >> pools) ** 2
    return convolutions, training.weight(100 + pools, classes, inputs)


class Torch(training.TorchLayers):
    def __init__(self, side, channels, classes, batch, fused=None):
        import torch
        from torch.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU

        convolutions, dense = weights(side, channels, classes)
        modules = []
        for weight in convolutions:
            outputs, inputs, *size = weight.shape
            modules += [Conv2d(inputs, outputs, size, padding=1), ReLU(), MaxPool2d(2)]
        modules += [Flatten(), Linear(dense.shape[1], classes)]
        shape = (batch, channels[0], side, side)
        super().__init__(shape, classes, modules, [*convolutions, dense], fused)
        # Channels last, as its tutorial on memory formats has it.
        self.net.to(memory_format=torch.channels_last)
        self.inputs = [x.contiguous(memory_format=torch.channels_last) for x in self.inputs]


class TorchFused(Torch):
    def __init__(self, **sizes):
        super().__init__(**sizes, fused=True)


class Jax(training.Jax):
    """Channels last, in which XLA convolves faster on the CPU."""

    def __init__(self, side, channels, classes, batch):
        import jax

        def logits(layers, x):
            *convolutions, (weight, bias) = layers
            for kernel, b in convolutions:
                dimensions = ("NHWC", "HWIO", "NHWC")
                x = jax.lax.conv_general_dilated(
                    x, kernel, (1, 1), "SAME", dimension_numbers=dimensions
                )
                x = jax.nn.relu(x + b)
                # Not `reduce_window`, whose gradient halves the speed.
                images, height, width, channels = x.shape
                x = x.reshape(images, height // 2, 2, width // 2, 2, channels).max((2, 4))
            return x.reshape(batch, -1) @ weight + bias

        convolutions, dense = weights(side, channels, classes)
        last = side >> len(convolutions)
        # Its inputs lie channels last, too.
        dense = dense.reshape(classes, channels[-1], last, last).transpose(2, 3, 1, 0)
        kernels = [kernel.transpose(2, 3, 1, 0) for kernel in convolutions]
        kernels += [dense.reshape(-1, classes)]
        layers = [(kernel, np.zeros(kernel.shape[-1], kernel.dtype)) for kernel in kernels]
        inputs = training.inputs((batch, channels[0], side, side))
        inputs = [x.transpose(0, 2, 3, 1) for x in inputs]
        super().__init__(inputs, training.labels(batch, classes), logits, layers)


LIBRARIES = {"torch": Torch, "torch-fused": TorchFused, "jax": Jax}
