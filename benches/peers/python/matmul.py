"""`c = a · b`: see `workload/src/matmul.rs`."""

import numpy as np
from data import integers, symmetric


class Matmul:
    """Ways to multiply; `multiply` may return before the product is computed."""

    def __init__(self, size):
        self.a, self.b = (symmetric(stream, 1, size, size) for stream in (1, 2))
        self.positions = integers(3, 1000, size * size)

    def step(self):
        c = np.asarray(self.multiply())
        return c.reshape(-1)[self.positions].tolist()

    def run(self, steps):
        for _ in range(steps):
            c = self.multiply()
        self.wait(c)

    def wait(self, c):
        pass


class Numpy(Matmul):
    def __init__(self, size):
        super().__init__(size)
        self.c = np.empty_like(self.a)

    def multiply(self):
        return np.matmul(self.a, self.b, out=self.c)


class Torch(Matmul):
    def __init__(self, size):
        super().__init__(size)
        import torch

        a, b = torch.from_numpy(self.a), torch.from_numpy(self.b)
        c = torch.empty_like(a)
        self.multiply = lambda: torch.mm(a, b, out=c)


class Jax(Matmul):
    def __init__(self, size):
        super().__init__(size)
        import jax

        a, b = jax.numpy.asarray(self.a), jax.numpy.asarray(self.b)
        multiply = jax.jit(jax.numpy.matmul)
        self.multiply = lambda: multiply(a, b)
        self.wait = jax.block_until_ready


LIBRARIES = {"numpy": Numpy, "torch": Torch, "jax": Jax}
