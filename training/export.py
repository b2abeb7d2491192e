"""`export`: the folder of the bundled model: layers in eight bits, the table of pieces in four."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from training import student
from training.draws import PASSAGE, QUERY
from training.network import Shape
from training.packing import from_int4, from_int8, to_int4, to_int8
from training.student import EPS, TOKEN_TYPE, WORDS, Student
from training.vocabulary import BOS, EOS, PAD, SPECIAL

INSTRUCTIONS = {
    "retrieval.query": QUERY,
    "retrieval.passage": PASSAGE,
    "separation": QUERY,
    "classification": QUERY,
    "text-matching": QUERY,
}
TOKENS = 8194
REMOTE_CODE = "jinaai/xlm-roberta-flash-implementation--"


def packed(model: Student) -> dict[str, Tensor]:
    """The tensors of model.safetensors."""
    result = {}
    for name, tensor in model.tensors().items():
        if name == WORDS:
            stem = name.removesuffix("weight")
            result[stem + "weight_packed"], result[stem + "weight_scale"] = to_int4(tensor)
        elif tensor.dim() == 2 and name != TOKEN_TYPE:
            result[name], result[name + "_scale"] = to_int8(tensor)
        else:
            result[name] = tensor.bfloat16()
    return {name: tensor.contiguous() for name, tensor in result.items()}


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The values of the tensors of model.safetensors in f32, by their names without packing."""
    result = {}
    for name, tensor in tensors.items():
        if name.endswith("_packed"):
            stem = name.removesuffix("_packed")
            result[stem] = from_int4(tensor, tensors[stem + "_scale"])
        elif tensor.dtype == torch.int8:
            result[name] = from_int8(tensor, tensors[name + "_scale"])
        elif not name.endswith("_scale"):
            result[name] = tensor.float()
    return result


def config(model: Student) -> dict[str, Any]:
    """config.json, with the keys of jina-embeddings-v3."""
    shape = model.shape
    return {
        "architectures": ["XLMRobertaLoRA"],
        "attention_probs_dropout_prob": 0.1,
        "auto_map": {
            "AutoConfig": REMOTE_CODE + "configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": REMOTE_CODE + "modeling_lora.XLMRobertaLoRA",
        },
        "bos_token_id": BOS,
        "classifier_dropout": None,
        "emb_pooler": None,
        "eos_token_id": EOS,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn_hidden,
        "layer_norm_eps": shape.eps,
        "load_trained_adapters": False,
        "lora_adaptations": list(INSTRUCTIONS),
        "lora_alpha": 1,
        "lora_dropout_p": 0.0,
        "lora_main_params_trainable": False,
        "lora_rank": 0,
        "matryoshka_dimensions": [d for d in (32, 64, 128, 256) if d < shape.hidden]
        + [shape.hidden],
        "max_position_embeddings": TOKENS,
        "model_type": "xlm-roberta",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "output_past": True,
        "pad_token_id": PAD,
        "position_embedding_type": "rotary",
        "rotary_emb_base": model.rope_theta,
        "task_instructions": INSTRUCTIONS,
        "torch_dtype": "bfloat16",
        "truncate_dim": None,
        "type_vocab_size": 1,
        "use_cache": False,
        "use_flash_attn": True,
        "use_reentrant": False,
        "vocab_size": shape.vocabulary,
    }


def tokenizer_config(vocabulary: int) -> dict[str, Any]:
    """tokenizer_config.json: the special tokens of XLM-R."""
    special = {**dict(enumerate(SPECIAL)), vocabulary - 1: "<mask>"}
    flags = {"normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "added_tokens_decoder": {
            str(i): {"content": token, "lstrip": token == "<mask>", **flags}
            for i, token in special.items()
        },
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": True,
        "cls_token": "<s>",
        "eos_token": "</s>",
        "mask_token": "<mask>",
        "model_max_length": TOKENS,
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "tokenizer_class": "XLMRobertaTokenizer",
        "unk_token": "<unk>",
    }


def sentence_transformers(hidden: int) -> dict[str, Any]:
    """The files that sentence-transformers reads, by path."""
    modules = [
        ("transformer", "", "custom_st.Transformer", {"kwargs": ["task"]}),
        ("pooler", "1_Pooling", "sentence_transformers.models.Pooling", {}),
        ("normalizer", "2_Normalize", "sentence_transformers.models.Normalize", {}),
    ]
    return {
        "config_sentence_transformers.json": {
            "prompts": INSTRUCTIONS,
            "default_prompt_name": None,
        },
        "modules.json": [
            {"idx": i, "name": name, "path": path, "type": kind, **more}
            for i, (name, path, kind, more) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "include_prompt": True,
        },
    }


def export(model: Student, tokenizer: Path, out: Path) -> None:
    """Writes the model's folder."""
    files = {
        "config.json": config(model),
        "tokenizer_config.json": tokenizer_config(model.shape.vocabulary),
        **sentence_transformers(model.shape.hidden),
    }
    for path, contents in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n")
    shutil.copyfile(tokenizer, out / "tokenizer.json")
    save_file(packed(model), out / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path) -> tuple[Student, Tokenizer, dict[str, str]]:
    """A folder that `export` wrote: the student with the values of its file in f32, the tokenizer,
    and the instructions of the tasks."""
    settings = json.loads((folder / "config.json").read_text())
    shape = Shape(
        settings["hidden_size"],
        settings["num_hidden_layers"],
        settings["num_attention_heads"],
        settings["intermediate_size"],
        settings["vocab_size"],
        0,
        EPS,
    )
    tensors = unpacked(load_file(folder / "model.safetensors"))
    model = student.from_tensors(shape, settings["rotary_emb_base"], tensors)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return model, tokenizer, settings["task_instructions"]


def run(arguments: argparse.Namespace) -> None:
    """`export`."""
    model = student.load(arguments.work / "ordered.safetensors")
    out = arguments.work / "model"
    export(model, arguments.work / "tokenizer.json", out)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        print(f"{path}: {path.stat().st_size} bytes")
