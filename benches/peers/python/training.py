"""What networks that are trained have in common: see `workload/src/training.rs`."""

import numpy as np
from data import integers, symmetric, uniform

LEARNING_RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def weight(stream, outputs, *inputs):
    """For each of the outputs as many weights as enter it."""
    return symmetric(stream, np.sqrt(6 / np.prod(inputs)), outputs, *inputs)


def inputs(shape):
    return [uniform(10 + i, *shape) for i in range(4)]


def labels(batch, classes):
    return [integers(20 + i, batch, classes).astype(np.int64) for i in range(5)]


class Training:
    """Ways to train; `train` takes a batch and may return its loss before that is computed."""

    def __init__(self, inputs, labels, place):
        self.inputs = [place(x) for x in inputs]
        self.labels = [place(y) for y in labels]
        self.steps = 0

    def submit(self):
        x = self.inputs[self.steps % len(self.inputs)]
        y = self.labels[self.steps % len(self.labels)]
        self.steps += 1
        return self.train(x, y)

    def step(self):
        return [float(self.submit())]

    def run(self, steps):
        for _ in range(steps):
            self.submit()
        self.wait()

    def wait(self):
        pass


class Torch(Training):
    """`optimizer` makes one of parameters."""

    def __init__(self, inputs, labels, net, optimizer):
        import torch

        super().__init__(inputs, labels, torch.from_numpy)
        self.net = net
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = optimizer(net.parameters())

    def train(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class TorchLayers(Torch):
    """`weights` are those of the modules that have one; biases are 0."""

    def __init__(self, shape, classes, modules, weights, fused):
        import torch

        layers = [module for module in modules if hasattr(module, "weight")]
        for layer, weight in zip(layers, weights, strict=True):
            fill(layer, weight)
        adam = lambda parameters: torch.optim.Adam(
            parameters, LEARNING_RATE, (BETA1, BETA2), EPS, fused=fused
        )
        net = torch.nn.Sequential(*modules)
        super().__init__(inputs(shape), labels(shape[0], classes), net, adam)


def fill(layer, weight):
    """Gives a layer this weight and, where it has one, a bias of zeros."""
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if getattr(layer, "bias", None) is not None:
            layer.bias.zero_()


class Jax(Training):
    """`logits` takes parameters, which are a tree, and inputs; the other axes of its result are
    those of the labels."""

    def __init__(self, inputs, labels, logits, parameters, rate=LEARNING_RATE, decay=0):
        import jax
        from jax import numpy as jnp

        super().__init__(inputs, labels, jnp.asarray)

        def loss_of(parameters, x, y):
            x = logits(parameters, x)
            return -jnp.take_along_axis(jax.nn.log_softmax(x), y[..., None], -1).mean()

        def step(state, x, y):
            parameters, means, squares, count = state
            loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
            count += 1
            tree = jax.tree.map
            means = tree(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradients)
            squares = tree(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, squares, gradients)

            def update(p, m, v):
                m, v = m / (1 - BETA1**count), v / (1 - BETA2**count)
                return p * (1 - rate * decay) - rate * m / (jnp.sqrt(v) + EPS)

            return (tree(update, parameters, means, squares), means, squares, count), loss

        self.jitted = jax.jit(step, donate_argnums=0)
        self.block = jax.block_until_ready
        parameters = jax.tree.map(jnp.asarray, parameters)
        zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros(), zeros(), jnp.float32(0))

    def train(self, x, y):
        self.state, loss = self.jitted(self.state, x, y)
        return loss

    def wait(self):
        self.block(self.state)
