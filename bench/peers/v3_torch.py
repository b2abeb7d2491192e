"""jina-embeddings-v3 in plain PyTorch: the original checkpoint layout, padded batches, SDPA.

With a task, every linear layer computes `weight + scale * B @ A` anew in each forward pass, like the
published implementation, and texts of the same task run together. Without a task the base weights run
unchanged.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from padding import mean


class Adapted(nn.Module):
    """A weight that tasks update: `original` with `A` [tasks, ...] and `B` [tasks, ...]."""

    def __init__(self, tensors, name, scale, updated):
        super().__init__()
        part = f"{name}.parametrizations.weight"
        self.weight = frozen(tensors[f"{part}.original"])
        self.a = frozen(tensors[f"{part}.0.lora_A"])
        self.b = frozen(tensors[f"{part}.0.lora_B"])
        self.scale, self.updated = scale, updated

    def forward(self, task):
        if task is None:
            return self.weight
        return self.weight + self.scale * self.updated(self.a[task], self.b[task])


class Linear(nn.Module):
    """`x W' + b`, with the adapted weight W' of each group of texts."""

    def __init__(self, tensors, name, scale):
        super().__init__()
        self.weight = Adapted(tensors, name, scale, lambda a, b: b @ a)
        self.bias = frozen(tensors[f"{name}.bias"])

    def forward(self, x, groups):
        return by_group(lambda rows, task: F.linear(x[rows], self.weight(task), self.bias), groups)


class Embedding(nn.Module):
    """Rows of an embedding table that tasks update."""

    def __init__(self, tensors, name, scale):
        super().__init__()
        self.weight = Adapted(tensors, name, scale, lambda a, b: a @ b)

    def forward(self, ids, groups):
        return by_group(lambda rows, task: F.embedding(ids[rows], self.weight(task)), groups)


class Norm(nn.Module):
    def __init__(self, tensors, name, eps):
        super().__init__()
        self.weight = frozen(tensors[f"{name}.weight"])
        self.bias = frozen(tensors[f"{name}.bias"])
        self.eps = eps

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Layer(nn.Module):
    def __init__(self, tensors, name, config, scale):
        super().__init__()
        eps = config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        self.qkv = Linear(tensors, f"{name}.mixer.Wqkv", scale)
        self.out = Linear(tensors, f"{name}.mixer.out_proj", scale)
        self.attn_norm = Norm(tensors, f"{name}.norm1", eps)
        self.up = Linear(tensors, f"{name}.mlp.fc1", scale)
        self.down = Linear(tensors, f"{name}.mlp.fc2", scale)
        self.ffn_norm = Norm(tensors, f"{name}.norm2", eps)

    def forward(self, x, cos, sin, keys, groups):
        texts, length, hidden = x.shape
        qkv = self.qkv(x, groups).view(texts, length, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        context = context.transpose(1, 2).reshape(texts, length, hidden)
        x = self.attn_norm(x + self.out(context, groups))
        return self.ffn_norm(x + self.down(F.gelu(self.up(x, groups)), groups))


class Model(nn.Module):
    """Token ids to mean states."""

    def __init__(self, folder, dtype):
        super().__init__()
        config = json.loads((Path(folder) / "config.json").read_text())
        tensors = load_file(Path(folder) / "model.safetensors")
        tensors = {name.removeprefix("roberta."): x.to(dtype) for name, x in tensors.items()}
        scale = config["lora_alpha"] / config["lora_rank"]
        self.tasks = config["lora_adaptations"]
        self.words = Embedding(tensors, "embeddings.word_embeddings", scale)
        self.types = Embedding(tensors, "embeddings.token_type_embeddings", scale)
        self.norm = Norm(tensors, "emb_ln", config["layer_norm_eps"])
        names = [f"encoder.layers.{n}" for n in range(config["num_hidden_layers"])]
        self.layers = nn.ModuleList(Layer(tensors, name, config, scale) for name in names)
        head = config["hidden_size"] // config["num_attention_heads"]
        cos, sin = rotary(config["max_position_embeddings"], head, config["rotary_emb_base"])
        self.register_buffer("cos", cos.to(dtype), persistent=False)
        self.register_buffer("sin", sin.to(dtype), persistent=False)

    def forward(self, ids, mask, groups=((slice(None), None),), padded=True):
        """`ids` and `mask`, [texts, length], to [texts, hidden]. `groups`: texts and their task."""
        x = self.words(ids, groups) + self.types(torch.zeros_like(ids), groups)
        x = self.norm(x)
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        keys = mask[:, None, None, :] if padded else None
        for layer in self.layers:
            x = layer(x, cos, sin, keys, groups)
        return mean(x, mask)

    def embed(self, batch):
        """The mean states of a `Padded` batch, [texts, hidden]."""
        padded = not bool(batch.mask.all())
        return self(batch.ids, batch.mask, self.groups(batch.tasks), padded)

    def groups(self, tasks):
        """The rows of the texts of each task, and the index of the task."""
        if len(set(tasks)) == 1:
            return [(slice(None), self.index(tasks[0]))]
        rows = {task: [n for n, other in enumerate(tasks) if other == task] for task in tasks}
        return [(torch.tensor(rows), self.index(task)) for task, rows in rows.items()]

    def index(self, task):
        return None if task is None else self.tasks.index(task)


def frozen(tensor):
    return nn.Parameter(tensor, requires_grad=False)


def by_group(compute, groups):
    """The results of `compute(rows, task)` of every group, in their rows."""
    if len(groups) == 1:
        return compute(*groups[0])
    parts = [compute(rows, task) for rows, task in groups]
    whole = parts[0].new_empty(sum(len(part) for part in parts), *parts[0].shape[1:])
    for (rows, _), part in zip(groups, parts):
        whole[rows] = part
    return whole


def rotary(positions, head, base):
    """cos and sin, [positions, head], in f32; the two halves of a head rotate together."""
    speeds = 1 / base ** (torch.arange(0, head, 2, dtype=torch.float32) / head)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), speeds)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotated(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
