"""A running `kokeshi serve`, and what `kokeshi embed` says of the same texts."""

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

# Several scripts, a character outside the basic plane, and a line break, which some clients take out.
TEXTS = (
    "The Force will be with you. Always.",
    "Die Macht wird mit dir sein. Immer.",
    "光剑太暗了 🦀",
)


class Server:
    """`kokeshi serve` with the starter model on a free port; the model also has the name of the
    released v3, because that is what clients ask for when they are told nothing."""

    def __init__(self, folder, *options):
        # The program looks for configuration in its environment; what the tests' has must not matter.
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
        raise RuntimeError(f"no server: {self.log.read_text()}")

    def stop(self):
        """Ends it as an operator would."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, f"kokeshi serve ended with {code}"

    def post(self, path, body, headers=None):
        """Status, headers and JSON of an answer, whatever the status."""
        headers = {"Content-Type": "application/json", **(headers or {})}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, headers, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers, json.load(refusal)

    def message(self, path, body, headers=None):
        """What the server says against a body that it refuses."""
        status, _, answer = self.post(path, body, headers)
        assert status >= 400, f"{body} was not refused"
        return answer.get("detail") or answer.get("message") or answer["error"]


@pytest.fixture(scope="session")
def server():
    """Open to everybody, as on one's own machine."""
    with tempfile.TemporaryDirectory() as folder:
        running = Server(folder, "--classifiers", f"{folder}/classifiers")
        yield running
        running.stop()


@pytest.fixture(scope="session")
def locked():
    """Wants the key `secret`."""
    with tempfile.TemporaryDirectory() as folder:
        running = Server(folder, "--api-key", "secret")
        yield running
        running.stop()


@functools.cache
def printed(*options, texts=TEXTS):
    """The vectors as `kokeshi embed` prints them."""
    command = [KOKESHI, "embed", "--format", "json", *options, "--", *texts]
    answer = json.loads(subprocess.check_output(command))
    return [item["embedding"] for item in answer["data"]]


def embed(*options, texts=TEXTS):
    """The vectors of `kokeshi embed`: f32 of shape [texts, dimensions]. Its floats are the shortest
    decimals that read back as the same f32."""
    return numpy.array(printed(*options, texts=texts), dtype=numpy.float32)


def same_bits(vectors, wanted):
    """Asserts that a client's numbers are those of `kokeshi embed`, bit for bit.

    Numbers that crossed as JSON are the doubles nearest to the shortest decimals of f32 values;
    rounded to f32 they are these values again, exactly. Base64 carries the f32 itself.
    """
    vectors = numpy.array(vectors, dtype=numpy.float32)
    assert vectors.shape == wanted.shape
    assert vectors.tobytes() == wanted.tobytes()
