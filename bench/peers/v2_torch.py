"""jina-embeddings-v2 (standard layout) in plain PyTorch: padded batches, SDPA, symmetric ALiBi.

The ALiBi bias is kept for the longest text seen so far and sliced, as in the published
implementation, so that no timed pass computes it.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from padding import mean
from v3_torch import Norm, frozen


class Linear(nn.Module):
    def __init__(self, tensors, name):
        super().__init__()
        self.weight = frozen(tensors[f"{name}.weight"])
        bias = tensors.get(f"{name}.bias")
        self.bias = None if bias is None else frozen(bias)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class Layer(nn.Module):
    def __init__(self, tensors, name, config):
        super().__init__()
        eps = config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        parts = ["query", "key", "value"]
        self.qkv = nn.ModuleList(Linear(tensors, f"{name}.attention.self.{p}") for p in parts)
        self.out = Linear(tensors, f"{name}.attention.output.dense")
        self.attn_norm = Norm(tensors, f"{name}.attention.output.LayerNorm", eps)
        self.up = Linear(tensors, f"{name}.mlp.gated_layers")
        self.down = Linear(tensors, f"{name}.mlp.wo")
        self.ffn_norm = Norm(tensors, f"{name}.mlp.layernorm", eps)

    def forward(self, x, bias):
        texts, length, hidden = x.shape
        shape = (texts, length, self.heads, hidden // self.heads)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in self.qkv)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        context = context.transpose(1, 2).reshape(texts, length, hidden)
        x = self.attn_norm(x + self.out(context))
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.ffn_norm(x + self.down(F.gelu(gate) * value))


class Model(nn.Module):
    """Token ids to mean states."""

    def __init__(self, folder, dtype):
        super().__init__()
        config = json.loads((Path(folder) / "config.json").read_text())
        tensors = load_file(Path(folder) / "model.safetensors")
        tensors = {name: x.to(dtype) for name, x in tensors.items()}
        self.words = frozen(tensors["embeddings.word_embeddings.weight"])
        self.types = frozen(tensors["embeddings.token_type_embeddings.weight"])
        self.norm = Norm(tensors, "embeddings.LayerNorm", config["layer_norm_eps"])
        names = [f"encoder.layer.{n}" for n in range(config["num_hidden_layers"])]
        self.layers = nn.ModuleList(Layer(tensors, name, config) for name in names)
        self.heads, self.dtype = config["num_attention_heads"], dtype
        self.bias = torch.empty(1, self.heads, 0, 0, dtype=dtype)

    def forward(self, ids, mask, padded):
        """`ids` and `mask`, [texts, length], to [texts, hidden]."""
        x = self.norm(F.embedding(ids, self.words) + self.types[0])
        bias = self.alibi(ids.shape[1])
        if padded:
            bias = bias.masked_fill(~mask[:, None, None, :], torch.finfo(self.dtype).min)
        for layer in self.layers:
            x = layer(x, bias)
        return mean(x, mask)

    def embed(self, batch):
        """The mean states of a `Padded` batch, [texts, hidden]."""
        return self(batch.ids, batch.mask, not bool(batch.mask.all()))

    def alibi(self, length):
        """-slope * |i - j|, [1, heads, length, length]"""
        if self.bias.shape[-1] < length:
            positions = torch.arange(length)
            distances = (positions[:, None] - positions[None, :]).abs().float()
            self.bias = torch.stack([(-m * distances).to(self.dtype) for m in slopes(self.heads)])
            self.bias = self.bias.unsqueeze(0)
        return self.bias[:, :, :length, :length]


def slopes(heads):
    """The slopes of the largest power of two, then every other slope of the series twice as fine."""
    whole = 2 ** math.floor(math.log2(heads))
    series = [2 ** (-8 * (n + 1) / whole) for n in range(whole)]
    finer = [2 ** (-8 * (2 * n + 1) / (2 * whole)) for n in range(heads - whole)]
    return series + finer
