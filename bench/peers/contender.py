"""Programs that run batches: `kokeshi bench --read-batches`, and a peer in `worker.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

# Options and variables that limit each side to an instruction set: kokeshi's option and PyTorch's
# variables. PyTorch's matrix products come from oneDNN in bf16 and from MKL in f32, and each of the two
# detects the processor itself.
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

# For each column the peer, and kokeshi's precision. ONNX Runtime has no bf16 on CPUs, so a user of its f32
# may switch to kokeshi's bf16: both comparisons are made.
PEERS = {
    "torch-bf16": ("torch-bf16", "bf16"),
    "torch-f32": ("torch-f32", "f32"),
    "onnx-f32": ("onnx-f32", "f32"),
    "onnx-f32-beside-bf16": ("onnx-f32", "bf16"),
    "onnx-int8": ("onnx-int8", "int8"),
}


def can_run(peer, model, isa, batch=None):
    """Whether the cell can be measured. Only v3 is exported for ONNX Runtime, without its tasks, and
    ONNX Runtime cannot be limited to an instruction set."""
    tasks = batch is not None and any(text["task"] for text in batch["texts"])
    return not peer.startswith("onnx") or (model == "v3" and isa == "native" and not tasks)


class Ended(Exception):
    """A program that ended before it answered."""

    def __init__(self, contender, status):
        super().__init__(f"{contender.name} ended with status {status}")
        self.contender, self.status = contender, status


class Contender:
    """A running program; `program` and `device` are its own description."""

    def __init__(self, name, command, variables):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **variables},
        )
        # If memory runs out, Linux ends this program first.
        Path(f"/proc/{self.process.pid}/oom_score_adj").write_text("1000")
        greeting = self._read()
        self.program, self.device = greeting["program"], greeting["device"]

    def run(self, batch):
        """The seconds of one pass, and the mean state of each text."""
        try:
            self.process.stdin.write(json.dumps(batch) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Ended(self, self.process.wait()) from None
        answer = self._read()
        return answer["seconds"], answer["vectors"]

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Ended(self, self.process.wait())
        return json.loads(line)

    def stop(self):
        self.process.stdout.close()
        self.process.terminate()
        self.process.wait()


class Pair:
    """Kokeshi and a peer, both loaded."""

    def __init__(self, peer, model, folder, isa, kokeshi):
        options, variables = ISAS[isa]
        if peer.startswith("onnx"):
            # A separate process frees its memory before anything is timed.
            subprocess.run([sys.executable, HERE / "onnx_v3.py", folder], check=True, stdout=2)
        program, precision = PEERS[peer]
        ours = [kokeshi, "bench", "--read-batches", "--model", folder]
        ours += ["--precision", precision, *options]
        theirs = [sys.executable, HERE / "worker.py", program, model, folder]
        print(f"kokeshi-{precision} and {peer}, {model}, {isa}", file=sys.stderr)
        self._peer = (peer, theirs, variables)
        self.ours = Contender(f"kokeshi-{precision}", ours, {})
        self.peer = Contender(*self._peer)

    @property
    def both(self):
        return (self.ours, self.peer)

    def described(self):
        """The description of each side."""
        return {
            side: {"program": contender.program, "device": contender.device}
            for side, contender in zip(["ours", "theirs"], self.both)
        }

    def restart_peer(self):
        self.peer.stop()
        self.peer = Contender(*self._peer)

    def stop(self):
        for contender in self.both:
            contender.stop()
