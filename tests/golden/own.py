"""Makes own_*.safetensors and their entries in manifest.json: `python own.py`.

Layers, losses and optimizers in float64 and in float32 on the same inputs; expected values are the
float64 ones, rounded. Needs torch and safetensors.

A file holds many parts: inputs `in.PART.NAME`, taken in the order of their names, parameters
`w.PART.NAME`, the result `out.PART.y`, and its gradients `grad.PART.NAME` for the cotangent
`in.PART.gy`.
"""

import hashlib
import pathlib

import manifest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.manual_seed(1)


class File:
    def __init__(self, name, doc, **params):
        self.name, self.doc, self.params = name, doc, params
        self.tensors, self.entries = {}, {}

    def add(self, name, want, single):
        self.tensors[name] = want.float()
        error = (single.double() - want).abs().nan_to_num(0.0).max().item() if want.numel() else 0.0
        largest = want.abs().nan_to_num(0.0, posinf=0.0).max().item() if want.numel() else 0.0
        self.entries[name] = {"max_abs": largest, "f32_err": error}

    def save(self):
        file = HERE / f"{self.name}.safetensors"
        save_file({n: v.clone().contiguous() for n, v in self.tensors.items()}, file)
        entry = {
            "doc": self.doc,
            "params": self.params | {"torch": torch.__version__},
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "tensors": self.entries,
        }
        manifest.add(self.name, entry)

    def part(self, part, f, inputs, params=None, constant=()):
        """`f(**inputs, **params)` and its gradients for all floats but those that are constant."""
        params = params or {}
        runs = []
        gy = None
        for dtype in (torch.float64, torch.float32):
            cast = {n: v.to(dtype) if v.is_floating_point() else v for n, v in (inputs | params).items()}
            wrt = [n for n, v in cast.items() if v.is_floating_point() and n not in constant]
            for n in wrt:
                cast[n] = cast[n].clone().requires_grad_()
            y = f(**cast)
            if gy is None:
                gy = torch.randn(y.shape) if y.dim() else torch.ones(())
            grads = torch.autograd.grad(y, [cast[n] for n in wrt], gy.to(dtype), allow_unused=True)
            runs.append([("out", "y", y.detach())] + [
                ("grad", n, torch.zeros_like(cast[n]) if g is None else g) for n, g in zip(wrt, grads)
            ])
        for (kind, n, want), (_, _, single) in zip(*runs):
            self.add(f"{kind}.{part}.{n}", want, single)
        for n, v in inputs.items():
            self.tensors[f"in.{part}.{n}"] = v.clone()
        for n, v in params.items():
            self.tensors[f"w.{part}.{n}"] = v
        self.tensors[f"in.{part}.gy"] = gy


def layers():
    file = File("own_layers", "convolutions, norms, pools and resizing with uncommon settings")
    r = torch.randn

    def transposed(part, x, weight, **settings):
        d = len(x) - 2
        f = F.conv_transpose2d if d == 2 else F.conv_transpose1d
        file.part(part, lambda a, b, c: f(a, b, c, **settings),
                  {"a": r(x), "b": r(weight), "c": r(weight[1] * settings.get("groups", 1))})

    transposed("transposed.g2s2op1", (2, 4, 5, 3), (4, 3, 3, 3), stride=2, padding=1, output_padding=1, groups=2)
    transposed("transposed.g3s2x3d2", (1, 6, 4, 5), (6, 2, 3, 2), stride=(2, 3), padding=(1, 0),
               output_padding=(1, 2), dilation=(2, 1), groups=3)
    transposed("transposed.d3s1", (2, 3, 4, 4), (3, 2, 2, 3), dilation=3, padding=2)
    transposed("transposed.1d", (2, 4, 7), (4, 1, 4), stride=3, padding=2, output_padding=2, dilation=2, groups=2)

    def convolved(part, x, weight, **settings):
        f = F.conv2d if len(x) == 4 else F.conv1d
        file.part(part, lambda a, b, c: f(a, b, c, **settings), {"a": r(x), "b": r(weight), "c": r(weight[0])})

    convolved("conv.1d_g4d3", (2, 8, 17), (12, 2, 3), groups=4, dilation=3, padding=2)
    convolved("conv.1d_s5", (3, 2, 23), (4, 2, 4), stride=5, padding=1)
    convolved("conv.depthwise", (2, 5, 7, 6), (10, 1, 3, 3), groups=5, padding=1, stride=(2, 1))
    convolved("conv.1x1s2", (2, 3, 7, 8), (4, 3, 1, 1), stride=2)

    def normed(part, f, x, channels, groups=None):
        p = {"weight": r(channels), "bias": r(channels)}
        file.part(part, f, {"x": r(x) * 2 + 0.5}, p)

    normed("group_norm.2d", lambda x, weight, bias: F.group_norm(x, 3, weight, bias), (2, 6, 5, 3), 6)
    normed("group_norm.1d", lambda x, weight, bias: F.group_norm(x, 2, weight, bias), (3, 4, 7), 4)
    normed("instance_norm.2d", lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias), (2, 3, 5, 4), 3)
    normed("instance_norm.1d", lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias), (2, 3, 9), 3)

    def pooled(part, f, x):
        file.part(part, f, {"x": r(x)})

    for ceil in (False, True):
        for pad in (False, True):
            tag = f"{'_ceil' if ceil else ''}{'' if pad else '_nopad'}"
            s = dict(ceil_mode=ceil, count_include_pad=pad)
            pooled(f"avg.k3s2p1{tag}", lambda x, s=s: F.avg_pool2d(x, 3, 2, 1, **s), (2, 3, 8, 7))
            pooled(f"avg.k3x2s2x3{tag}", lambda x, s=s: F.avg_pool2d(x, (3, 2), (2, 3), (1, 0), **s), (1, 2, 8, 9))
            pooled(f"avg.1d{tag}", lambda x, s=s: F.avg_pool1d(x, 4, 3, 2, **s), (2, 3, 12))
    pooled("max.1d_ceil", lambda x: F.max_pool1d(x, 3, 2, 1, ceil_mode=True), (2, 3, 12))
    pooled("adaptive.5x3", lambda x: F.adaptive_avg_pool2d(x, (5, 3)), (2, 3, 7, 11))
    pooled("adaptive.up", lambda x: F.adaptive_avg_pool2d(x, (7, 4)), (2, 2, 3, 3))
    pooled("adaptive.1d", lambda x: F.adaptive_avg_pool1d(x, 4), (2, 3, 10))

    def resized(part, x, **settings):
        pooled(part, lambda x: F.interpolate(x, **settings), x)

    resized("up.nearest_5x7", (2, 3, 3, 4), size=(5, 7), mode="nearest")
    resized("up.nearest_2.5", (2, 3, 3, 4), scale_factor=2.5, mode="nearest", recompute_scale_factor=True)
    resized("up.nearest_down", (2, 2, 7, 5), size=(3, 2), mode="nearest")
    resized("up.bilinear_5x7", (2, 3, 3, 4), size=(5, 7), mode="bilinear", align_corners=False)
    resized("up.bilinear_down", (2, 2, 7, 5), size=(3, 2), mode="bilinear", align_corners=False)
    resized("up.corners_5x7", (2, 3, 3, 4), size=(5, 7), mode="bilinear", align_corners=True)
    resized("up.corners_1x3", (2, 2, 4, 5), size=(1, 3), mode="bilinear", align_corners=True)
    resized("up.linear_1d", (2, 3, 5), size=8, mode="linear", align_corners=False)
    pooled("shuffle.3", lambda x: F.pixel_shuffle(x, 3), (2, 18, 2, 3))
    pooled("unshuffle.2", lambda x: F.pixel_unshuffle(x, 2), (2, 3, 4, 6))
    file.save()


def losses():
    file = File("own_losses", "losses with every reduction")
    r = torch.randn

    def each(part, f, inputs, constant=("t",), reductions=("mean", "sum", "none")):
        for how in reductions:
            file.part(f"{part}.{how}", lambda how=how, **v: f(reduction=how, **v), inputs, constant=constant)

    x, t = r(4, 5) * 2, r(4, 5)
    x[0, 0], x[0, 1], x[0, 2] = t[0, 0], t[0, 1] + 1.5, t[0, 2] - 1.5
    pair = {"t": t, "x": x}
    each("l1", lambda x, t, reduction: F.l1_loss(x, t, reduction=reduction), pair)
    each("mse", lambda x, t, reduction: F.mse_loss(x, t, reduction=reduction), pair)
    for delta in (1.0, 1.5, 0.3):
        each(f"huber{delta}", lambda x, t, reduction: F.huber_loss(x, t, reduction=reduction, delta=delta), pair)
    for beta in (1.0, 1.5, 0.3, 0.0):
        each(f"smooth_l1_{beta}", lambda x, t, reduction: F.smooth_l1_loss(x, t, reduction=reduction, beta=beta), pair)
    q, p = r(4, 5).log_softmax(1), r(4, 5).softmax(1)
    p[1] = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    all_of = ("mean", "sum", "none", "batchmean")
    each("kl", lambda x, t, reduction: F.kl_div(x, t, reduction=reduction), {"t": p, "x": q}, reductions=all_of)
    each("kl_log", lambda x, t, reduction: F.kl_div(x, t, reduction=reduction, log_target=True),
         {"t": r(4, 5).log_softmax(1), "x": q}, constant=(), reductions=all_of)
    counts = torch.tensor([[0.0, 1.0, 2.0, 5.0, 9.0], [3.0, 0.5, 1.5, 0.0, 1.0]])
    each("poisson", lambda x, t, reduction: F.poisson_nll_loss(x, t, reduction=reduction), {"t": counts, "x": r(2, 5)})
    each("poisson_full", lambda x, t, reduction: F.poisson_nll_loss(x, t, full=True, reduction=reduction),
         {"t": counts, "x": r(2, 5)})
    each("poisson_rates", lambda x, t, reduction: F.poisson_nll_loss(x, t, log_input=False, eps=1e-3, reduction=reduction),
         {"t": counts, "x": r(2, 5).abs()})
    v = r(4, 5).abs() + 0.1
    v[0, 0] = 1e-3
    gaussian = {"a": x, "t": t, "v": v}
    each("gaussian", lambda a, t, v, reduction: F.gaussian_nll_loss(a, t, v, eps=0.01, reduction=reduction), gaussian, ())
    each("gaussian_full", lambda a, t, v, reduction: F.gaussian_nll_loss(a, t, v, full=True, reduction=reduction), gaussian, ())
    each("gaussian_rows", lambda a, t, v, reduction: F.gaussian_nll_loss(a, t, v, reduction=reduction),
         {"a": x, "t": t, "v": r(4, 1).abs() + 0.1}, ())
    each("gaussian_flat", lambda a, t, v, reduction: F.gaussian_nll_loss(a, t, v, reduction=reduction),
         {"a": x, "t": t, "v": r(4).abs() + 0.1}, ())
    sign = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]] * 4) * torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    each("hinge_embedding", lambda x, t, reduction: F.hinge_embedding_loss(x, t, reduction=reduction, margin=0.7),
         {"t": sign, "x": x})
    odd = sign.clone()
    odd[0, 1] = 0.0
    each("hinge_embedding_odd", lambda x, t, reduction: F.hinge_embedding_loss(x, t, reduction=reduction), {"t": odd, "x": x})
    a, b, c = r(6, 4), r(6, 4), r(6, 4)
    y = torch.tensor([1, -1, 1, -1, -1, 1])
    each("ranking", lambda a, b, t, reduction: F.margin_ranking_loss(a, b, t, margin=0.3, reduction=reduction),
         {"a": a[:, 0].clone(), "b": b[:, 0].clone(), "t": y})
    a[5] = 0
    each("cosine", lambda a, b, t, reduction: F.cosine_embedding_loss(a, b, t, margin=0.1, reduction=reduction),
         {"a": a, "b": b, "t": y})
    a[5] = r(4)
    for norm in (1.0, 2.0, 3.0):
        each(f"triplet_p{norm:.0f}", lambda a, b, c, reduction: F.triplet_margin_loss(a, b, c, p=norm, reduction=reduction),
             {"a": a, "b": b, "c": c}, ())
    each("triplet_swap", lambda a, b, c, reduction: F.triplet_margin_loss(a, b, c, margin=2.0, swap=True, reduction=reduction),
         {"a": a, "b": b, "c": c}, ())
    label, w = torch.tensor([0, 3, 1, 2]), torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0])
    each("multi_margin", lambda x, t, reduction: F.multi_margin_loss(x, t, reduction=reduction), {"t": label, "x": x})
    each("multi_margin_p2w", lambda x, t, reduction: F.multi_margin_loss(
        x, t, p=2, margin=0.8, weight=w.to(x.dtype), reduction=reduction), {"t": label, "x": x})
    # Frames, batch and classes; the last target cannot be read from so few frames.
    logits = r(3, 7, 5)
    target = torch.tensor([[1, 2, 2, 4], [3, 1, 0, 0], [4, 4, 4, 4]])
    frames, lengths = torch.tensor([7, 5, 7]), torch.tensor([4, 2, 4])
    ctc = {"a": logits, "b": target, "c": frames, "d": lengths}

    def by_ctc(a, b, c, d, reduction, zero):
        log = a.log_softmax(-1).transpose(0, 1)
        return F.ctc_loss(log, b, c, d, reduction=reduction, zero_infinity=zero)

    # It needs eight frames with the blanks between equal labels, and has seven: fine; with five it has not.
    each("ctc", lambda a, b, c, d, reduction: by_ctc(a, b, c, d, reduction, False), ctc, ())
    short = ctc | {"c": torch.tensor([7, 5, 5]), "d": torch.tensor([0, 2, 4])}
    each("ctc_zero", lambda a, b, c, d, reduction: by_ctc(a, b, c, d, reduction, True), short, ())
    file.save()


def optimizers():
    o = torch.optim
    rows = {
        "adam_amsgrad": lambda p: o.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
        "adamw_amsgrad": lambda p: o.AdamW(p, lr=0.01, amsgrad=True, weight_decay=0.1),
        "adamax": lambda p: o.Adamax(p, lr=0.02, weight_decay=0.1),
        "nadam": lambda p: o.NAdam(p, lr=0.02, weight_decay=0.1),
        "nadam_decoupled": lambda p: o.NAdam(p, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
        "radam": lambda p: o.RAdam(p, lr=0.01, weight_decay=0.1),
        "radam_decoupled": lambda p: o.RAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True, betas=(0.8, 0.9)),
        "adadelta": lambda p: o.Adadelta(p, lr=1.0, weight_decay=0.1),
        "muon": lambda p: o.Muon(p, lr=0.02),
        "muon_match": lambda p: o.Muon(p, lr=0.02, adjust_lr_fn="match_rms_adamw", nesterov=False, weight_decay=0.3),
    }
    steps = 8
    for name, make in rows.items():
        muon = name.startswith("muon")
        shapes = {"p0": (4, 3), "p1": (5, 7) if muon else (5,)}
        file = File(f"own_opt_{name}", "optimizer alone; gradients of step k given as in.g{k}.p*", steps=steps)
        start = {n: torch.randn(s) for n, s in shapes.items()}
        grads = [{n: torch.randn(s) * (3.0 if k % 3 == 0 else 0.5) for n, s in shapes.items()} for k in range(steps)]
        runs = []
        for dtype in (torch.float64, torch.float32):
            params = {n: v.to(dtype).clone().requires_grad_() for n, v in start.items()}
            optimizer = make(list(params.values()))
            out = {}
            for k, gradient in enumerate(grads):
                for n, p in params.items():
                    p.grad = gradient[n].to(dtype).clone()
                optimizer.step()
                out |= {f"out.after{k + 1}.{n}": p.detach().clone() for n, p in params.items()}
            for n, p in params.items():
                for state, value in optimizer.state[p].items():
                    if torch.is_tensor(value) and value.shape == p.shape:
                        out[f"out.state{steps}.{n}.{state}"] = value.clone()
            runs.append(out)
        for n, want in runs[0].items():
            file.add(n, want, runs[1][n])
            if muon and ".after" in n:
                # Newton and Schulz's iteration runs in bfloat16.
                file.entries[n]["f32_err"] = 5e-4
        file.tensors |= {f"w.{n}": v for n, v in start.items()}
        file.tensors |= {f"in.g{k}.{n}": v for k, g in enumerate(grads) for n, v in g.items()}
        file.save()


def indexing():
    file = File("own_index", "index and shape ops, sorts, scans, moments, einsum")
    r = torch.randn

    def part(name, f, **inputs):
        file.part(name, f, inputs)

    def few(*shape, below):
        return torch.randint(below, shape, dtype=torch.int64)

    unique = torch.stack([torch.randperm(7)[:5] for _ in range(3)])
    part("scatter.1", lambda a, b, i: a.scatter(1, i, b), a=r(3, 7), b=r(3, 5), i=unique)
    part("scatter.0", lambda a, b, i: a.scatter(0, i, b), a=r(7, 4, 2), b=r(5, 3, 2),
         i=torch.stack([torch.randperm(7)[:5] for _ in range(6)]).T.reshape(5, 3, 2))
    part("scatter_add.-1", lambda a, b, i: a.scatter_add(-1, i, b), a=r(3, 7), b=r(3, 9), i=few(3, 9, below=7))
    part("take_along_axis.1", lambda a, i: a.gather(1, i), a=r(3, 7, 2), i=few(3, 9, 2, below=7))
    part("index_select.1", lambda a, i: a.index_select(1, i), a=r(3, 7, 2), i=few(9, below=7))
    part("take", lambda a, i: a.take(i), a=r(3, 7), i=few(2, 5, below=21))
    part("one_hot", lambda a, i: F.one_hot(i, 5).to(a.dtype) @ a, a=r(5, 3), i=few(2, 4, below=5))
    part("masked_fill", lambda a, i: a.masked_fill(i > 0, -2.0), a=r(3, 5), i=few(3, 5, below=2))

    part("sort", lambda a: a.sort(1).values, a=r(3, 40))
    part("sort_descending", lambda a: a.sort(dim=0, descending=True, stable=True).values, a=r(30, 3))
    part("argsort", lambda a, b: b * a.argsort(dim=1, stable=True).to(a.dtype), a=torch.randint(5, (3, 20)).float(), b=r(3, 20))
    part("topk", lambda a: a.topk(4, 1).values, a=r(3, 20))
    part("topk_smallest", lambda a: a.topk(3, 0, largest=False).values, a=r(9, 4))
    part("median", lambda a: a.median(1).values, a=r(3, 8))
    part("median_odd", lambda a: a.median(0).values, a=r(7, 3))
    part("cumsum", lambda a: a.cumsum(1), a=r(3, 9, 2))
    part("cumprod", lambda a: a.cumprod(-1), a=torch.cat([r(3, 4), torch.zeros(3, 1), r(3, 4)], 1))
    part("cummax", lambda a: a.cummax(1).values, a=torch.randint(5, (3, 12)).float())

    part("flip", lambda a: a.flip(0, 2), a=r(3, 4, 5))
    part("roll", lambda a: a.roll((2, -1), (0, 2)), a=r(3, 4, 5))
    part("roll_flat", lambda a: a.roll(-8), a=r(3, 5))
    part("repeat", lambda a: a.repeat(2, 1, 3), a=r(3, 2))
    part("tile", lambda a: a.tile(2), a=r(3, 2))
    part("repeat_interleave", lambda a: a.repeat_interleave(torch.tensor([2, 0, 3]), 0), a=r(3, 4))
    part("slice_step", lambda a: a[1:8:3, -4:], a=r(9, 6))
    part("diagonal", lambda a: a.diagonal(1, 0, 2), a=r(4, 3, 5))
    part("tril", lambda a: a.tril(-1), a=r(2, 4, 5))
    part("triu", lambda a: a.triu(1), a=r(2, 5, 4))
    part("stack", lambda a, b: torch.stack([a, b], 1), a=r(3, 4), b=r(3, 4))

    part("var", lambda a: a.var((0, 2)), a=r(3, 4, 5))
    part("std_biased", lambda a: a.std(1, correction=0), a=r(3, 7) + 100)
    part("logsumexp", lambda a: a.logsumexp(1), a=r(3, 7) * 50)
    part("prod_zero", lambda a: a.prod(1), a=torch.tensor([[1.5, 0.0, -2.0], [0.0, 3.0, 0.0], [1.0, 2.0, 4.0]]))
    for p in (0.5, 1.0, 2.0, 3.0, float("inf"), float("-inf")):
        part(f"norm.{p}", lambda a, p=p: torch.linalg.vector_norm(a, p, (0, 1)), a=r(3, 4, 2))
    part("amax_ties", lambda a: a.amax((0, 2)), a=torch.randint(3, (3, 4, 5)).float())

    def einsum(name, equation, *shapes):
        part(f"einsum.{name}", lambda equation=equation, **v: torch.einsum(equation, *v.values()),
             **{"abc"[i]: r(shape) for i, shape in enumerate(shapes)})

    einsum("batched", "bij,bjk->bik", (2, 3, 4), (2, 4, 5))
    einsum("turned", "ij,kj->ki", (3, 4), (5, 4))
    einsum("heads", "bthd,bshd->bhts", (2, 3, 2, 4), (2, 5, 2, 4))
    einsum("trace", "iji->j", (3, 4, 3))
    einsum("outer", "i,j->ij", (3,), (4,))
    einsum("implicit", "ab,bc", (3, 4), (4, 2))
    einsum("ellipsis", "...ij,jk->...ik", (2, 3, 4, 5), (5, 2))
    einsum("bilinear", "bi,kij,bj->bk", (3, 4), (2, 4, 5), (3, 5))
    file.save()


def sequences():
    file = File("own_sequences", "recurrent layers, attention and transformer layers with uncommon settings")
    r, nn = torch.randn, torch.nn

    def module(part, module, inputs, call=lambda module, *inputs: module(*inputs)):
        module = module.double().eval()
        params = {n: torch.randn_like(p) * 0.4 for n, p in module.named_parameters()}

        def f(**given):
            own = {n: given.pop(n) for n in params}
            m = module.double() if next(iter(own.values())).dtype == torch.float64 else module.float()
            return call(lambda *a, **k: torch.func.functional_call(m, own, a, k), *given.values())

        file.part(part, f, inputs, {n: p.float() for n, p in params.items()})

    x = {"x": r(2, 5, 3)}
    both = lambda m, x: (lambda y, h: torch.cat([y.flatten(), *[s.flatten() for s in (h if isinstance(h, tuple) else (h,))]]))(*m(x))
    module("lstm.2_both", nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), x, both)
    module("gru.2_both", nn.GRU(3, 4, 2, batch_first=True, bidirectional=True), x, both)
    module("rnn.relu_2", nn.RNN(3, 4, 2, batch_first=True, nonlinearity="relu"), x, both)
    module("rnn.tanh_no_bias", nn.RNN(3, 4, batch_first=True, bias=False), x, both)

    def attended(m, q, k, **settings):
        return m(q, k, k, need_weights=False, **settings)[0]

    absent = torch.tensor([[0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0]]).bool()
    causal = torch.ones(5, 5).triu(1).bool()
    module("attention.cross_absent", nn.MultiheadAttention(8, 2, batch_first=True), {"a": r(2, 5, 8), "b": r(2, 6, 8)},
           lambda m, a, b: attended(m, a, b, key_padding_mask=absent))
    module("attention.causal_no_bias", nn.MultiheadAttention(6, 3, bias=False, batch_first=True), {"a": r(2, 5, 6)},
           lambda m, a: attended(m, a, a, attn_mask=causal))

    def grouped(q, k, v, **settings):
        turn = lambda x: x.transpose(1, 2)
        return turn(F.scaled_dot_product_attention(turn(q), turn(k), turn(v), enable_gqa=True, **settings))

    heads = {"a": r(2, 5, 6, 4), "b": r(2, 7, 2, 4), "c": r(2, 7, 2, 3)}
    file.part("sdpa.grouped", lambda a, b, c: grouped(a, b, c), heads)
    file.part("sdpa.added", lambda a, b, c, m: grouped(a, b, c, attn_mask=m), heads | {"m": r(2, 1, 5, 7)}, constant=("m",))
    file.part("sdpa.scaled", lambda a, b, c: grouped(a, b, c, scale=0.3), heads)

    def layer(of, **settings):
        return of(8, 2, 12, 0.0, batch_first=True, **settings)

    y = {"x": r(2, 5, 8)}
    module("encoder.first_gelu", layer(nn.TransformerEncoderLayer, norm_first=True, activation="gelu"), y)
    module("encoder.last_relu_absent", layer(nn.TransformerEncoderLayer), y,
           lambda m, x: m(x, src_key_padding_mask=absent[:, 1:]))
    masked = lambda m, x, z: m(x, z, tgt_mask=causal, memory_key_padding_mask=absent)
    module("decoder.first_relu", layer(nn.TransformerDecoderLayer, norm_first=True), y | {"z": r(2, 6, 8)}, masked)
    module("decoder.last_gelu", layer(nn.TransformerDecoderLayer, activation="gelu"), y | {"z": r(2, 6, 8)}, masked)
    file.save()


layers()
losses()
optimizers()
indexing()
sequences()
