"""schemathesis against the served OpenAPI document: no 5xx, and no status, content type or body that
is not documented."""

import subprocess
import sys

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


def test_responses_match_the_document(server, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.root}/openapi.json"]
    options = ["--seed", "1", "--max-examples", "60", "--generation-database", "none", "--no-color"]
    ended = subprocess.run(
        [*command, *options, "--checks", ",".join(CHECKS), "--continue-on-failure"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert server.post("/v1/embeddings", {"input": "x"})[0] == 200
    assert "panic" not in server.log.read_text()
