"""Training steps of a multilayer perceptron: see `workload/src/mlp.rs`."""

import numpy as np
from data import integers, symmetric, uniform

LEARNING_RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


class Mlp:
    """Ways to train; `train` takes a batch and may return its loss before that is computed."""

    def __init__(self, widths, batch, place):
        layers = enumerate(zip(widths, widths[1:]))
        self.weights = [symmetric(100 + i, np.sqrt(6 / m), n, m) for i, (m, n) in layers]
        self.inputs = [place(uniform(10 + i, batch, widths[0])) for i in range(4)]
        labels = [integers(20 + i, batch, widths[-1]) for i in range(5)]
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


class Torch(Mlp):
    def __init__(self, widths, batch, fused=None):
        import torch

        super().__init__(widths, batch, torch.from_numpy)
        modules = []
        for weight in self.weights:
            outputs, inputs = weight.shape
            linear = torch.nn.Linear(inputs, outputs)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight))
                linear.bias.zero_()
            modules += [linear, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*modules[:-1])
        self.loss = torch.nn.CrossEntropyLoss()
        betas = (BETA1, BETA2)
        self.adam = torch.optim.Adam(self.net.parameters(), LEARNING_RATE, betas, EPS, fused=fused)

    def train(self, x, y):
        self.adam.zero_grad()
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.adam.step()
        return loss.detach()


class TorchFused(Torch):
    def __init__(self, widths, batch):
        super().__init__(widths, batch, fused=True)


class Jax(Mlp):
    def __init__(self, widths, batch):
        import jax
        from jax import numpy as jnp

        super().__init__(widths, batch, jnp.asarray)

        def loss_of(layers, x, y):
            for i, (weight, bias) in enumerate(layers):
                x = (x if i == 0 else jax.nn.relu(x)) @ weight + bias
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
        layers = [(jnp.asarray(w.T), jnp.zeros(w.shape[0])) for w in self.weights]
        zeros = lambda: jax.tree.map(jnp.zeros_like, layers)
        self.state = (layers, zeros(), zeros(), jnp.float32(0))

    def train(self, x, y):
        self.state, loss = self.jitted(self.state, x, y)
        return loss

    def wait(self):
        self.block(self.state)


LIBRARIES = {"torch": Torch, "torch-fused": TorchFused, "jax": Jax}
