"""A program that runs batches: `kokeshi bench --read-batches`, or a peer in `worker.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

# What keeps each side to a level of instructions: our option, and PyTorch's variables. Its matrix
# products are oneDNN's in bf16 and MKL's in f32, and each of the two looks at the processor itself.
ISAS = {
    "native": ([], {}),
    "avx512_bf16": (
        ["--simd-level", "avx512-dot"],
        {
            "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
            "MKL_ENABLE_INSTRUCTIONS": "AVX512_E3",
            "ATEN_CPU_CAPABILITY": "avx512",
        },
    ),
    "avx2": (
        ["--simd-level", "avx2"],
        {
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ATEN_CPU_CAPABILITY": "avx2",
        },
    ),
}

# Each peer, and which of ours it stands beside. There is no int8 of ours: the fastest takes part.
PEERS = {
    "torch-bf16": "kokeshi-bf16",
    "torch-f32": "kokeshi-f32",
    "onnx-f32": "kokeshi-f32",
    "onnx-int8": "kokeshi-bf16",
}


def can_run(peer, model, isa, batch):
    """Whether `peer` is measured in this table; ONNX Runtime has no switch for instructions."""
    exported = model == "v3" and isa == "native" and not any(t["task"] for t in batch["texts"])
    return exported or not peer.startswith("onnx")


class Contender:
    """A running program; `program` and `device` are what it says of itself."""

    def __init__(self, name, model, folder, isa, kokeshi):
        options, variables = ISAS[isa]
        if name.startswith("kokeshi"):
            precision = name.split("-")[1]
            command = [kokeshi, "bench", "--read-batches", "--model", folder]
            command += ["--precision", precision, *options]
        else:
            command = [sys.executable, HERE / "worker.py", name, model, folder]
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **variables},
        )
        greeting = self._read()
        self.program, self.device = greeting["program"], greeting["device"]

    def run(self, batch):
        """Seconds of one pass, and the mean state of each text."""
        try:
            self.process.stdin.write(json.dumps(batch) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._read()
        return answer["seconds"], answer["vectors"]

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            sys.exit(f"{self.name} ended with status {status}; what it said is above")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
