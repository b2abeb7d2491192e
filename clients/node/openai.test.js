// openai 6 and 7: both request base64 by default; 6 accepts nothing else.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as openai6 from "openai6";
import * as openai7 from "openai7";
import { TEXTS, embed, message, sameBits, serve } from "./kokeshi.js";

let server, locked;
before(async () => {
  [server, locked] = await Promise.all([serve(), serve("--api-key", "secret")]);
});
after(() => Promise.all([server?.stop(), locked?.stop()]));

const vectors = (answer) => answer.data.map((item) => item.embedding);

for (const [version, openai] of Object.entries({ 6: openai6, 7: openai7 })) {
  describe(`openai ${version}`, () => {
    const client = (baseURL = server.v1, apiKey = "none") =>
      new openai.OpenAI({ baseURL, apiKey, maxRetries: 0 });

    test("base64 by default, and the same as floats", async () => {
      const answer = await client().embeddings.create({ model: "starter", input: TEXTS });
      sameBits(vectors(answer), embed());
      assert.deepEqual(answer.data.map((item) => item.index), [0, 1, 2]);
      assert.ok(answer.usage.prompt_tokens > 0);
      assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens);
      const floats = { model: "starter", input: TEXTS, encoding_format: "float" };
      sameBits(vectors(await client().embeddings.create(floats)), embed());
    });

    test("a task in the body, the model's name and the base URL", async () => {
      for (const task of ["retrieval.query", "retrieval.passage"]) {
        const wanted = embed("--task", task);
        const body = { model: "starter", input: TEXTS, task };
        sameBits(vectors(await client().embeddings.create(body)), wanted);
        const model = { model: `starter:${task}`, input: TEXTS };
        sameBits(vectors(await client().embeddings.create(model)), wanted);
        const address = client(`${server.root}/task/${task}/v1`);
        const plain = { model: "starter", input: TEXTS };
        sameBits(vectors(await address.embeddings.create(plain)), wanted);
      }
    });

    test("dimensions", async () => {
      const body = { model: "starter", input: TEXTS, dimensions: 64 };
      sameBits(vectors(await client().embeddings.create(body)), embed("--dimensions", "64"));
    });

    test("the list of models", async () => {
      const models = [];
      for await (const model of client().models.list()) models.push(model.id);
      assert.deepEqual(models.sort(), ["jina-embeddings-v3", "starter"]);
    });

    test("refusals", async () => {
      const body = { model: "nobody", input: ["x"] };
      const said = await message(server, body);
      await assert.rejects(client().embeddings.create(body), (error) => {
        assert.ok(error instanceof openai.BadRequestError);
        assert.equal(error.error.message, said);
        assert.equal(error.code, "INPUT_MODEL_NOT_FOUND");
        return true;
      });
      const long = { model: "starter", input: ["x", "word ".repeat(9000)] };
      await assert.rejects(client().embeddings.create(long), (error) => {
        assert.ok(error instanceof openai.BadRequestError);
        assert.equal(error.code, "INPUT_TOO_LONG");
        assert.match(error.message, /text 1.*8192/);
        return true;
      });
      const wrong = client(locked.v1, "wrong");
      await assert.rejects(wrong.embeddings.create(body), openai.AuthenticationError);
    });
  });
}
