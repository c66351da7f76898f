"""What networks that are trained have in common: see `workload/src/training.rs`."""

import numpy as np
from data import integers, symmetric, uniform

LEARNING_RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def weight(stream, outputs, *inputs):
    """For each of the outputs as many weights as enter it."""
    return symmetric(stream, np.sqrt(6 / np.prod(inputs)), outputs, *inputs)


class Training:
    """Ways to train; `train` takes a batch and may return its loss before that is computed."""

    def __init__(self, shape, classes, place):
        self.inputs = [place(uniform(10 + i, *shape)) for i in range(4)]
        labels = [integers(20 + i, shape[0], classes) for i in range(5)]
        self.labels = [place(y.astype(np.int64)) for y in labels]
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
    """`weights` are those of the modules that have one; biases are 0."""

    def __init__(self, shape, classes, modules, weights, fused):
        import torch

        super().__init__(shape, classes, torch.from_numpy)
        self.net = torch.nn.Sequential(*modules)
        layers = [module for module in modules if hasattr(module, "weight")]
        with torch.no_grad():
            for layer, weight in zip(layers, weights, strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.zero_()
        self.loss = torch.nn.CrossEntropyLoss()
        betas = (BETA1, BETA2)
        self.adam = torch.optim.Adam(self.net.parameters(), LEARNING_RATE, betas, EPS, fused=fused)

    def train(self, x, y):
        self.adam.zero_grad()
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.adam.step()
        return loss.detach()


class Jax(Training):
    """`logits` takes layers, which are pairs of a weight and a bias, and inputs."""

    def __init__(self, shape, classes, logits, layers, place=lambda x: x):
        import jax
        from jax import numpy as jnp

        super().__init__(shape, classes, lambda x: jnp.asarray(place(x)))

        def loss_of(layers, x, y):
            x = logits(layers, x)
            return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

        def step(state, x, y):
            layers, means, squares, count = state
            loss, gradients = jax.value_and_grad(loss_of)(layers, x, y)
            count += 1
            tree = jax.tree.map
            means = tree(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradients)
            squares = tree(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, squares, gradients)

            def update(p, m, v):
                m, v = m / (1 - BETA1**count), v / (1 - BETA2**count)
                return p - LEARNING_RATE * m / (jnp.sqrt(v) + EPS)

            return (tree(update, layers, means, squares), means, squares, count), loss

        self.jitted = jax.jit(step, donate_argnums=0)
        self.block = jax.block_until_ready
        layers = jax.tree.map(jnp.asarray, layers)
        zeros = lambda: jax.tree.map(jnp.zeros_like, layers)
        self.state = (layers, zeros(), zeros(), jnp.float32(0))

    def train(self, x, y):
        self.state, loss = self.jitted(self.state, x, y)
        return loss

    def wait(self):
        self.block(self.state)
