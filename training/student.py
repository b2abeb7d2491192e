"""The student: the architecture of jina-embeddings-v3, with the names of its tensors."""

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.network import Layer, Shape, attention, layer_norm, merge_heads, moved, split_heads

EPS = 1e-5
WORDS = "roberta.embeddings.word_embeddings.weight"
TOKEN_TYPE = "roberta.embeddings.token_type_embeddings.weight"
NORM, NORM_BIAS = "roberta.emb_ln.weight", "roberta.emb_ln.bias"
# The fields of `Layer` by the names that follow `roberta.encoder.layers.N.`.
LAYER_NAMES = {
    "mixer.Wqkv.weight": "qkv",
    "mixer.Wqkv.bias": "qkv_bias",
    "mixer.out_proj.weight": "out",
    "mixer.out_proj.bias": "out_bias",
    "norm1.weight": "norm1",
    "norm1.bias": "norm1_bias",
    "mlp.fc1.weight": "fc1",
    "mlp.fc1.bias": "fc1_bias",
    "mlp.fc2.weight": "fc2",
    "mlp.fc2.bias": "fc2_bias",
    "norm2.weight": "norm2",
    "norm2.bias": "norm2_bias",
}


@functools.lru_cache(maxsize=512)
def rotary_tables(tokens: int, head_dim: int, theta: float, device: str) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions times frequencies, `[tokens, head_dim / 2]` each."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] / theta**exponents
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(states: Tensor, theta: float) -> Tensor:
    """Rotates the pairs (p, p + head_dim / 2) of queries or keys `[..., tokens, head_dim]` by their
    positions: pair p by θ^(-2p / head_dim) radians per token."""
    cos, sin = rotary_tables(states.shape[-2], states.shape[-1], theta, str(states.device))
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


@dataclass
class Student:
    """An encoder with rotary positions."""

    shape: Shape
    rope_theta: float
    # [vocabulary, hidden], [hidden]
    words: Tensor
    token_type: Tensor
    norm: Tensor
    norm_bias: Tensor
    layers: list[Layer]

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids `[batch, tokens]` as the first layer's input `[batch, tokens, hidden]`."""
        return layer_norm(self.words[tokens] + self.token_type, self.norm, self.norm_bias, EPS)

    def attended(self, layer: Layer, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """What attention gives to the output projection, `[batch, tokens, hidden]`."""
        qkv = F.linear(states, layer.qkv, layer.qkv_bias)
        q, k, v = split_heads(qkv, 3, self.shape.heads)
        theta = self.rope_theta
        return merge_heads(attention(rotate(q, theta), rotate(k, theta), v, mask))

    def step(self, layer: Layer, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """One layer on states `[batch, tokens, hidden]`; `mask` `[batch, tokens]` is true at
        tokens."""
        attended = self.attended(layer, states, mask)
        states = states + F.linear(attended, layer.out, layer.out_bias)
        states = layer_norm(states, layer.norm1, layer.norm1_bias, EPS)
        activated = F.gelu(F.linear(states, layer.fc1, layer.fc1_bias))
        states = states + F.linear(activated, layer.fc2, layer.fc2_bias)
        return layer_norm(states, layer.norm2, layer.norm2_bias, EPS)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """The last hidden states, `[batch, tokens, hidden]`."""
        states = self.embed(tokens)
        for layer in self.layers:
            states = self.step(layer, states, mask)
        return states

    def to(self, device: str) -> "Student":
        """The same student on a device."""
        layers = [moved(layer, device) for layer in self.layers]
        return dataclasses.replace(moved(self, device), layers=layers)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their names in a checkpoint."""
        named = {
            WORDS: self.words,
            TOKEN_TYPE: self.token_type[None],
            NORM: self.norm,
            NORM_BIAS: self.norm_bias,
        }
        for i, layer in enumerate(self.layers):
            for name, field in LAYER_NAMES.items():
                named[f"roberta.encoder.layers.{i}.{name}"] = getattr(layer, field)
        return named

    def save(self, path: Path) -> None:
        """Writes all tensors in f32, for the next command."""
        shape = json.dumps([dataclasses.asdict(self.shape), self.rope_theta])
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.tensors().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(tensors, partial, metadata={"shape": shape})
        partial.rename(path)


def from_tensors(shape: Shape, rope_theta: float, tensors: dict[str, Tensor]) -> Student:
    """A student of tensors with their names in a checkpoint."""
    layers = [
        Layer(
            **{
                field: tensors[f"roberta.encoder.layers.{i}.{name}"]
                for name, field in LAYER_NAMES.items()
            }
        )
        for i in range(shape.layers)
    ]
    embeddings = tensors[WORDS], tensors[TOKEN_TYPE][0], tensors[NORM], tensors[NORM_BIAS]
    return Student(shape, rope_theta, *embeddings, layers)


def load(path: Path) -> Student:
    """The student that `Student.save` wrote."""
    with safe_open(path, "pt") as file:
        shape, rope_theta = json.loads(file.metadata()["shape"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    return from_tensors(Shape(**shape), rope_theta, tensors)
