"""A peer as a program with the protocol of `kokeshi bench --read-batches`: first a line that describes
the program and device, then for each line with a batch a line with the seconds of a pass and the mean
states.

    python worker.py torch-bf16 v3 FOLDER
"""

import importlib
import json
import sys
import time

import torch

from padding import Padded


def load(peer, model, folder):
    """The model, and the name of the library that runs it."""
    library, kind = peer.split("-")
    if library == "onnx":
        import onnx_v3
        import onnxruntime

        if model != "v3":
            raise ValueError(f"{peer} runs v3 only")
        return onnx_v3.Model(folder, kind), f"ONNX Runtime {onnxruntime.__version__}"
    module = {"v3": "v3_torch", "v2-base": "v2_torch"}[model]
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[kind]
    network = importlib.import_module(module).Model(folder, dtype).eval()
    return network, f"PyTorch {torch.__version__}"


def main():
    peer, model, folder = sys.argv[1:]
    # The output of libraries must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    network, program = load(peer, model, folder)
    capability = torch.backends.cpu.get_cpu_capability() if "torch" in peer else None
    device = {"threads": torch.get_num_threads(), "capability": capability}
    print(json.dumps({"program": program, "device": device}), file=answers, flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            batch = json.loads(line)
            padded = Padded.of(batch["texts"])
            start = time.perf_counter()
            vectors = network.embed(padded)
            seconds = time.perf_counter() - start
            answer = {"name": batch["name"], "seconds": seconds}
            answer["vectors"] = padded.in_order(vectors)
            print(json.dumps(answer), file=answers, flush=True)


main()
