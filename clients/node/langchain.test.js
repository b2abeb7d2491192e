// @langchain/community's Jina embeddings, which distinguish documents from queries, and @langchain/openai.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { JinaEmbeddings } from "@langchain/community/embeddings/jina";
import { OpenAIEmbeddings } from "@langchain/openai";
import { TEXTS, embed, message, sameBits, serve } from "./kokeshi.js";

let server, locked;
before(async () => {
  [server, locked] = await Promise.all([serve(), serve("--api-key", "secret")]);
});
after(() => Promise.all([server?.stop(), locked?.stop()]));

/** Its constructor ignores the option `baseUrl`, but not the field. */
function jina(address, options) {
  const made = new JinaEmbeddings({ apiKey: "none", dimensions: 256, ...options });
  made.baseUrl = `${address}/embeddings`;
  return made;
}

test("documents and queries", async () => {
  const embeddings = jina(server.v1, { model: "jina-embeddings-v3", dimensions: 128 });
  const size = ["--dimensions", "128"];
  const documents = await embeddings.embedDocuments(TEXTS);
  sameBits(documents, embed("--task", "retrieval.passage", ...size));
  const queries = await Promise.all(TEXTS.map((text) => embeddings.embedQuery(text)));
  sameBits(queries, embed("--task", "retrieval.query", ...size));
});

test("refusals", async () => {
  const body = {
    model: "nobody",
    input: ["x"],
    dimensions: 256,
    task: "retrieval.query",
    normalized: true,
  };
  const said = await message(server, body);
  await assert.rejects(jina(server.v1, { model: "nobody" }).embedQuery("x"), { message: said });
  // It requests 1024 dimensions by default; the starter model has fewer.
  const wide = jina(server.v1, { model: "starter", dimensions: undefined });
  await assert.rejects(wide.embedQuery("x"), /1024.*384/);
  const wrong = jina(locked.v1, { model: "starter" });
  await assert.rejects(wrong.embedQuery("x"), { message: "unknown API key" });
});

test("the embeddings of @langchain/openai", async () => {
  const openai = (baseURL, model = "starter") =>
    new OpenAIEmbeddings({ model, apiKey: "none", maxRetries: 0, configuration: { baseURL } });
  for (const task of ["retrieval.passage", "retrieval.query"]) {
    const embeddings = openai(`${server.root}/task/${task}/v1`);
    sameBits(await embeddings.embedDocuments(TEXTS), embed("--task", task));
    const queries = await Promise.all(TEXTS.map((text) => embeddings.embedQuery(text)));
    sameBits(queries, embed("--task", task));
  }
  const said = await message(server, { model: "nobody", input: "x" });
  await assert.rejects(openai(server.v1, "nobody").embedQuery("x"), (error) => {
    assert.ok(error.message.includes(said), error.message);
    return true;
  });
});
