"""jina-embeddings-v3 for ONNX Runtime: the module of `v3_torch.py`, exported without a task,
fused by `onnxruntime.transformers.optimizer`, and quantized by `quantize_dynamic`.

    python onnx_v3.py FOLDER

creates both files next to the checkpoint in FOLDER, unless they exist.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model

import v3_torch


class Model:
    """A session over mean states."""

    def __init__(self, folder, kind):
        path = Path(folder) / f"onnx-{kind}" / "model.onnx"
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


def create_all(folder):
    """Creates both networks."""
    create(folder / "onnx-f32", lambda path: export(folder, path))
    create(folder / "onnx-int8", lambda path: quantize(folder / "onnx-f32" / "model.onnx", path))


def create(folder, write):
    """Creates `model.onnx` in `folder`, which gets its name only when it is complete."""
    if folder.exists():
        return
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    write(part / "model.onnx")
    part.rename(folder)


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


def quantize(source, path):
    """Linear layers and the embedding table in int8; activations are quantized at run time."""
    quantize_dynamic(source, path, weight_type=QuantType.QInt8, use_external_data_format=True)


if __name__ == "__main__":
    create_all(Path(sys.argv[1]))
