"""A running `kokeshi serve`, and the vectors of `kokeshi embed` for the same texts."""

import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KOKESHI = os.environ.get("KOKESHI") or ROOT / "target/release/kokeshi"

# Several scripts, a character outside the basic plane, and a line break, which some clients remove.
TEXTS = (
    "The Force will be with you. Always.",
    "Die Macht wird mit dir sein. Immer.",
    "光剑太暗了 🦀",
)


class Server:
    """`kokeshi serve` with the starter model on a free port. The model also has the name of the
    released v3, which is the default of clients."""

    def __init__(self, folder, *options):
        # The program reads variables of its environment; those of the tests must not affect it.
        environment = {"HOME": str(folder), "HF_HUB_CACHE": f"{folder}/hub"}
        models = ["--model", "starter", "--model", "jina-embeddings-v3=starter"]
        self.log = pathlib.Path(folder, "log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [KOKESHI, "serve", "--port", "0", *models, *options],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self.root = self._address()
        self.v1 = f"{self.root}/v1"

    def _address(self):
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            listening = re.search(r"^listening on (\S+)$", self.log.read_text(), re.MULTILINE)
            if listening:
                return listening[1]
            time.sleep(0.02)
        self.process.kill()
        raise RuntimeError(f"the server did not start: {self.log.read_text()}")

    def stop(self):
        """Stops the server like an operator."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, f"kokeshi serve ended with {code}"

    def post(self, path, body, headers=None):
        """Status, headers and JSON of an answer with any status."""
        headers = {"Content-Type": "application/json", **(headers or {})}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, headers, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers, json.load(refusal)

    def message(self, path, body, headers=None):
        """The message for a body that the server refuses."""
        status, _, answer = self.post(path, body, headers)
        assert status >= 400, f"{body} was not refused"
        return answer.get("detail") or answer.get("message") or answer["error"]


@pytest.fixture(scope="session")
def server():
    """A server without keys."""
    with tempfile.TemporaryDirectory() as folder:
        running = Server(folder, "--classifiers", f"{folder}/classifiers")
        yield running
        running.stop()


@pytest.fixture(scope="session")
def locked():
    """A server that requires the key `secret`."""
    with tempfile.TemporaryDirectory() as folder:
        running = Server(folder, "--api-key", "secret")
        yield running
        running.stop()


@functools.cache
def printed(*options, texts=TEXTS):
    """The vectors that `kokeshi embed` prints."""
    command = [KOKESHI, "embed", "--format", "json", *options, "--", *texts]
    answer = json.loads(subprocess.check_output(command))
    return [item["embedding"] for item in answer["data"]]


def embed(*options, texts=TEXTS):
    """The vectors of `kokeshi embed`, f32 of shape [texts, dimensions]. It prints the shortest
    decimals that parse to the same f32."""
    return numpy.array(printed(*options, texts=texts), dtype=numpy.float32)


def same_bits(vectors, expected):
    """Asserts that a client's vectors equal those of `kokeshi embed`, bit for bit.

    From JSON, clients get the doubles nearest to the shortest decimals of f32 values; rounded to
    f32 they are exactly these values. Base64 contains the f32 values themselves.
    """
    vectors = numpy.array(vectors, dtype=numpy.float32)
    assert vectors.shape == expected.shape
    assert vectors.tobytes() == expected.tobytes()
