"""Makes cnn_batchnorm_adam.safetensors and its entry in manifest.json: `python cnn_batchnorm.py`.

Five steps of Adam of a small network with batch normalization, in float64 and in float32 on the
same inputs; expected values are the float64 ones, rounded. Needs torch and safetensors.
"""

import hashlib
import pathlib

import manifest
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
NAME = "cnn_batchnorm_adam"
STEPS, BATCH = 5, 8


def network():
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32, 10),
    )


def train(dtype, initial, x, y):
    net = network().to(dtype)
    net.load_state_dict(initial)
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    out, losses = {}, []
    for k in range(STEPS):
        rows = slice(k * BATCH, (k + 1) * BATCH)
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x[rows].to(dtype)), y[rows])
        loss.backward()
        losses.append(loss.detach())
        if k == 0:
            for name, p in net.named_parameters():
                out[f"out.step0.grad.{name}"] = p.grad.clone()
        adam.step()
        for name, value in net.state_dict().items():
            out[f"out.after{k + 1}.{name}"] = value.clone()
    net.eval()
    out["out.losses"] = torch.stack(losses)
    out["out.test_logits"] = net(x[:BATCH].to(dtype)).detach()
    return out


torch.manual_seed(0)
initial = network().state_dict()
x = torch.randn(STEPS * BATCH, 1, 8, 8)
y = torch.randint(0, 10, (STEPS * BATCH,))
want, single = train(torch.float64, initial, x, y), train(torch.float32, initial, x, y)
tensors = {"in.x": x, "in.y": y} | {f"w.{n}": v for n, v in initial.items()}
entries = {}
for name, value in want.items():
    floats = value.is_floating_point()
    tensors[name] = value.float() if floats else value
    if floats:
        error = (single[name].double() - value).abs().max().item()
        entries[name] = {"max_abs": value.abs().max().item(), "f32_err": error}
file = HERE / f"{NAME}.safetensors"
save_file({n: v.contiguous() for n, v in tensors.items()}, file)
entry = {
    "doc": "conv-bn-relu-pool twice, linear; cross-entropy, 5 steps of Adam lr=0.01, batch 8",
    "params": {"lr": 0.01, "steps": STEPS, "batch": BATCH, "torch": torch.__version__},
    "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    "tensors": entries,
}
manifest.add(NAME, entry)
