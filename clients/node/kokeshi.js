// A running `kokeshi serve`, and the vectors of `kokeshi embed` for the same texts.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const KOKESHI =
  process.env.KOKESHI ?? fileURLToPath(new URL("../../target/release/kokeshi", import.meta.url));

// Several scripts, and a character outside the basic plane.
export const TEXTS = [
  "The Force will be with you. Always.",
  "Die Macht wird mit dir sein. Immer.",
  "光剑太暗了 🦀",
];

/**
 * `kokeshi serve` with the starter model on a free port; the model also has the name of the released
 * v3. Resolves to its root address and a function that ends it.
 */
export async function serve(...options) {
  const folder = mkdtempSync(join(tmpdir(), "kokeshi-"));
  const models = ["--model", "starter", "--model", "jina-embeddings-v3=starter"];
  const server = spawn(KOKESHI, ["serve", "--port", "0", ...models, ...options], {
    // The program reads variables of its environment; those of the tests must not affect it.
    env: { HOME: folder, HF_HUB_CACHE: join(folder, "hub") },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => server.once("close", resolve));
  const root = await listening(server);
  const stop = async () => {
    server.kill("SIGTERM");
    const code = await ended;
    rmSync(folder, { recursive: true });
    assert.equal(code, 0, `kokeshi serve ended with ${code}`);
  };
  return { root, v1: `${root}/v1`, stop };
}

async function listening(server) {
  const log = [];
  // Lines are read as long as the server runs: it would block on a full pipe.
  const lines = createInterface({ input: server.stderr });
  return new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      log.push(line);
      const address = line.match(/^listening on (\S+)$/);
      if (address) resolve(address[1]);
    });
    lines.once("close", () => reject(new Error(`the server ended: ${log.join("\n")}`)));
  });
}

/** The vectors of `kokeshi embed`, as its JSON has them. */
export function embed(...options) {
  const command = ["embed", "--format", "json", ...options, "--", ...TEXTS];
  const answer = JSON.parse(execFileSync(KOKESHI, command, { encoding: "utf8" }));
  return answer.data.map((item) => item.embedding);
}

/**
 * Asserts that a client's numbers are those of `kokeshi embed`, bit for bit. Both sides are rounded to
 * f32: numbers that crossed as JSON are the doubles nearest to shortest decimals of f32 values, and
 * base64 carries the f32 itself.
 */
export function sameBits(vectors, wanted) {
  const bits = (all) => all.map((vector) => [...new Uint32Array(Float32Array.from(vector).buffer)]);
  assert.deepEqual(bits(vectors), bits(wanted));
}

/** What the server says against a body that it refuses. */
export async function message(server, body) {
  const answer = await fetch(`${server.v1}/embeddings`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(answer.status >= 400, `${JSON.stringify(body)} was not refused`);
  return (await answer.json()).detail;
}
