"""PyTorch, JAX and numpy: `contestant.py torch|torch-fused|jax|numpy`.

Speaks the protocol of `workload/src/protocol.rs`.
"""

import json
import os
import sys
import time

import cnn
import gpt
import matmul
import mlp

WORKLOADS = {
    "matmul": matmul.LIBRARIES,
    "mlp": mlp.LIBRARIES,
    "cnn": cnn.LIBRARIES,
    "gpt": gpt.LIBRARIES,
}


class Contestant:
    def __init__(self, library):
        self.library, self.task = library, None

    def answer(self, request):
        [(kind, value)] = request.items()
        if kind == "prepare":
            [(name, sizes)] = value.items()
            make = WORKLOADS.get(name, {}).get(self.library)
            if make is None:
                return "absent"
            self.task = make(**sizes)
            return {"prepared": {"about": about(self.library), "results": self.task.step()}}
        if kind == "check":
            return {"checked": [result for _ in range(value) for result in self.task.step()]}
        wall, cpu = time.perf_counter(), time.process_time()
        self.task.run(value)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"turned": {"wall": wall, "cpu": cpu, "peak": peak_memory()}}


def about(library):
    if library == "numpy":
        import numpy

        blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"numpy {numpy.__version__} with {blas['name']} {blas['version']}"
    if library == "jax":
        import jax

        return f"jax {jax.__version__}, jit on the CPU"
    import torch

    fused = ", fused Adam" if library == "torch-fused" else ""
    return f"torch {torch.__version__} eager on the CPU, {torch.get_num_threads()} threads{fused}"


def peak_memory():
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def main():
    # For machines whose JAX knows other devices as well.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Libraries may print; only replies may reach standard output.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant = Contestant(sys.argv[1])
    for line in sys.stdin:
        try:
            reply = contestant.answer(json.loads(line))
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
