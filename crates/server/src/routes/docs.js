// Renders /openapi.json. Texts are set with `textContent`, which needs no escaping.
const element = (name, text = "", parent = null) => {
  const created = document.createElement(name);
  created.textContent = text;
  parent?.append(created);
  return created;
};
const last = (ref) => ref.split("/").pop();
const typeOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return last(schema.$ref);
  const options = schema.oneOf || schema.anyOf;
  if (options) return [...new Set(options.map(typeOf))].filter((type) => type !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  const type = [schema.type].flat().filter((type) => type !== "null").join(" or ");
  return type === "array" ? `list of ${typeOf(schema.items)}` : type || "any";
};
const table = (schema, document, parent) => {
  const resolved = schema?.$ref ? document.components.schemas[last(schema.$ref)] : schema;
  if (!resolved?.properties) return element("p", typeOf(schema), parent);
  const rows = element("table", "", parent);
  for (const [name, field] of Object.entries(resolved.properties)) {
    const row = element("tr", "", rows);
    element("code", name, element("td", "", row));
    element("td", typeOf(field) + (resolved.required?.includes(name) ? " (required)" : ""), row);
    element("td", field.description ?? "", row);
  }
};
const example = { "/v1/embeddings": { input: ["The Force will be with you. Always."], dimensions: 8 },
  "/v1/classify": { input: "It never stops raining.", labels: ["weather", "sport"] },
  "/v1/segment": { content: "Berlin is large. It rains.", chunking: "sentences", return_chunks: true },
  "/v1/similarity": { input: ["a cat", "a kitten", "a tax return"] },
  "/embed": { inputs: "a text" }, "/api/embed": { input: "a text" },
  "/v2/embed": { texts: ["a text"], input_type: "search_query" } };
const addTrial = (path, parent) => {
  const body = element("textarea", "", parent);
  body.value = JSON.stringify(example[path] ?? {}, null, 2);
  body.ariaLabel = "Request body";
  const send = element("button", "Send", parent);
  const reply = element("pre", "", parent);
  send.onclick = async () => {
    const headers = { "Content-Type": "application/json" };
    const key = document.getElementById("key").value;
    if (key) headers.Authorization = `Bearer ${key}`;
    const response = await fetch(path, { method: "POST", headers, body: body.value });
    reply.textContent = `${response.status}\n${await response.text()}`;
  };
};
fetch("/openapi.json").then((response) => response.json()).then((api) => {
  document.getElementById("about").textContent = api.info.description;
  const main = document.getElementById("paths");
  main.textContent = "";
  const byTag = {};
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(methods))
      (byTag[operation.tags?.[0] ?? "Other"] ??= []).push([path, method, operation]);
  for (const [tag, operations] of Object.entries(byTag)) {
    element("h2", tag, main);
    for (const [path, method, operation] of operations) {
      const box = element("details", "", main);
      const head = element("summary", "", box);
      element("b", method.toUpperCase(), head).className = "method";
      element("code", path, head);
      head.append(` ${operation.summary ?? ""}`);
      if (operation.description) element("p", operation.description, box);
      const body = operation.requestBody?.content?.["application/json"]?.schema;
      if (body) { element("h4", "Request", box); table(body, api, box); }
      for (const [status, response] of Object.entries(operation.responses)) {
        element("h4", `Response ${status}`, box);
        const content = Object.values(response.content ?? {})[0]?.schema;
        if (content) table(content, api, box); else element("p", response.description, box);
      }
      if (method === "post") addTrial(path, box);
    }
  }
});
