// The AI SDK (`ai`) with jina-ai-provider.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { APICallError, embed as embedOne, embedMany } from "ai";
import { createJina } from "jina-ai-provider";
import { TEXTS, embed, message, sameBits, serve } from "./kokeshi.js";

let server, locked;
before(async () => {
  [server, locked] = await Promise.all([serve(), serve("--api-key", "secret")]);
});
after(() => Promise.all([server?.stop(), locked?.stop()]));

const model = (name, baseURL = server.v1) =>
  createJina({ baseURL, apiKey: "none" }).textEmbeddingModel(name);

test("tasks and dimensions", async () => {
  for (const inputType of ["retrieval.query", "retrieval.passage"]) {
    const providerOptions = { jina: { inputType, outputDimension: 128 } };
    const wanted = embed("--task", inputType, "--dimensions", "128");
    const starter = model("starter");
    const many = await embedMany({ model: starter, values: TEXTS, providerOptions });
    sameBits(many.embeddings, wanted);
    assert.ok(many.usage.tokens > 0);
    const one = await embedOne({ model: starter, value: TEXTS[0], providerOptions });
    sameBits([one.embedding], wanted.slice(0, 1));
  }
});

test("late chunking, and no task", async () => {
  const late = { jina: { lateChunking: true } };
  const v3 = model("jina-embeddings-v3");
  const chunks = await embedMany({ model: v3, values: TEXTS, providerOptions: late });
  sameBits(chunks.embeddings, embed("--late-chunking"));
  sameBits((await embedMany({ model: v3, values: TEXTS })).embeddings, embed());
});

test("refusals", async () => {
  const body = { model: "nobody", input: ["x"], normalized: true, truncate: false };
  const said = await message(server, body);
  const ask = (model) => embedMany({ model, values: ["x"], maxRetries: 0 });
  await assert.rejects(ask(model("nobody")), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.message, said);
    assert.equal(error.statusCode, 400);
    return true;
  });
  await assert.rejects(ask(model("starter", locked.v1)), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.message, "unknown API key");
    assert.equal(error.statusCode, 401);
    return true;
  });
});
