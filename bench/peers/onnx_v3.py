"""jina-embeddings-v3 for ONNX Runtime: the module of `v3_torch.py`, exported without a task,
fused by `onnxruntime.transformers.optimizer`, and quantised by `quantize_dynamic`.

The files are made once, beside the checkpoint.
"""

import json
import os
import shutil
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model

import v3_torch


class Model:
    """A session over mean states."""

    def __init__(self, folder, kind):
        path = {"f32": exported, "int8": quantised}[kind](Path(folder))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def embed(self, batch):
        """The mean states of a `Padded` batch, [texts, hidden]."""
        if any(batch.tasks):
            raise ValueError("the exported network has no tasks")
        inputs = {"ids": batch.ids.numpy(), "mask": batch.mask.numpy()}
        return self.session.run(["vectors"], inputs)[0]


def exported(folder):
    """The fused network in f32."""
    return made(folder / "onnx-f32", lambda path: export(folder, path))


def quantised(folder):
    """Linear layers and the embedding table in int8, activations quantised as they come."""
    source = exported(folder)
    return made(
        folder / "onnx-int8",
        lambda path: quantize_dynamic(
            source, path, weight_type=QuantType.QInt8, use_external_data_format=True
        ),
    )


def made(folder, make):
    """`model.onnx` in `folder`, which only gets its name when it is whole."""
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        make(part / "model.onnx")
        part.rename(folder)
    return folder / "model.onnx"


def export(folder, path):
    plain = path.with_name("plain.onnx")
    model = v3_torch.Model(folder, torch.float32).eval()
    ids = torch.randint(0, 1000, (2, 16))
    mask = torch.ones(2, 16, dtype=torch.bool)
    texts, length = torch.export.Dim("texts"), torch.export.Dim("length", max=8192)
    with torch.inference_mode():
        torch.onnx.export(
            model, (ids, mask), plain, dynamo=True, external_data=True,
            input_names=["ids", "mask"], output_names=["vectors"],
            dynamic_shapes={"ids": {0: texts, 1: length}, "mask": {0: texts, 1: length}},
        )
    config = json.loads((folder / "config.json").read_text())
    fused = optimize_model(
        str(plain), model_type="bert", num_heads=config["num_attention_heads"],
        hidden_size=config["hidden_size"], opt_level=0,
    )
    fused.save_model_to_file(str(path), use_external_data_format=True)
    for file in plain.parent.glob("plain.onnx*"):
        file.unlink()
