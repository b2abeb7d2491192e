"use strict";
// Renders /openapi.json. Texts are set with `textContent`, which needs no escaping.
const FIRST = "/v1/embeddings"; // What most visitors look for.
const DEPTH = 3; // Levels of fields in a table.
const element = (name, text = "", parent = null) => {
  const created = document.createElement(name);
  created.textContent = text;
  parent?.append(created);
  return created;
};
const resolve = (schema, api) => schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema ?? {};
const optionsOf = (schema) => schema.oneOf ?? schema.anyOf;
const isNull = (schema) => schema.type === "null";
const either = (words) => {
  const [last, ...others] = [...new Set(words)].reverse();
  return others.length ? `${others.reverse().join(", ")} or ${last}` : last ?? "";
};
const WORDS = { string: ["text", "texts"], integer: ["whole number", "whole numbers"], number: ["number", "numbers"],
  boolean: ["true or false", "true or false"], object: ["object", "objects"] };
// The type of a schema in words.
const typeOf = (schema, api, isPlural = false) => {
  const { enum: values, pattern, ...resolved } = resolve(schema, api);
  const options = optionsOf(resolved);
  if (options) {
    const shown = options.filter((option) => !isNull(option));
    const words = shown.map((option) => typeOf(option, api, isPlural));
    const isSeveral = (option) => words.includes(typeOf(resolve(option, api).items, api));
    return either(shown.map((option, at) => isSeveral(option) ? "a list of these" : words[at]));
  }
  if (values) return either(values.map((value) => JSON.stringify(value)));
  if (resolved.properties || resolved.allOf) return WORDS.object[+isPlural];
  const types = [resolved.type ?? []].flat().filter((type) => type !== "null");
  return either(types.map((type) => {
    if (type === "array") return `list${isPlural ? "s" : ""} of ${typeOf(resolved.items, api, true)}`;
    return pattern === "^[0-9]+$" ? "digits as text" : WORDS[type]?.[+isPlural] ?? type;
  })) || "any value";
};
// What a field means: its own words, or those of what it refers to.
const descriptionOf = (field, api) => {
  const own = [field, ...optionsOf(field) ?? []].map((schema) => schema.description).filter(Boolean);
  const meant = own.length ? own : [resolve(field, api).description, resolve(field.items, api).description];
  return meant.find(Boolean) ?? "";
};
// All fields of a schema as [name, type, description], those of objects in it below them.
const fieldsOf = (schema, api, prefix = "", depth = DEPTH) => {
  const resolved = resolve(schema, api);
  if (depth === 0) return [];
  const parts = [...resolved.allOf ?? [], ...optionsOf(resolved) ?? []];
  const fields = parts.flatMap((part) => fieldsOf(part, api, prefix, depth));
  if (resolved.items) fields.push(...fieldsOf(resolved.items, api, `${prefix.slice(0, -1)}[].`, depth));
  const isRequired = (name) => Boolean(resolved.required?.includes(name));
  const entries = Object.entries(resolved.properties ?? {}).sort(([a], [b]) => isRequired(b) - isRequired(a));
  for (const [name, field] of entries) {
    const required = isRequired(name) ? ", required" : "";
    fields.push([prefix + name, typeOf(field, api) + required, descriptionOf(field, api)]);
    fields.push(...fieldsOf(field, api, `${prefix}${name}.`, depth - 1));
  }
  const names = new Set();
  return fields.filter(([name]) => !names.has(name) && names.add(name));
};
// Prose whose names are in backticks.
const prose = (name, text, parent) => {
  const created = element(name, "", parent);
  for (const [at, part] of text.replace(/\[(`[^`]*`)\]/g, "$1").split("`").entries())
    if (at % 2) element("code", part, created); else created.append(part);
};
const table = (heads, rows, parent) => {
  const created = element("table", "", parent), head = element("tr", "", element("thead", "", created));
  for (const text of heads) element("th", text, head);
  const body = element("tbody", "", created);
  for (const [first, ...others] of rows) {
    const row = element("tr", "", body);
    element("code", first, element("td", "", row));
    for (const text of others) prose("td", text, row);
  }
};
const fieldTable = (schema, api, parent) => {
  const fields = fieldsOf(schema, api);
  if (fields.length) table(["field", "type", "meaning"], fields, parent);
  else element("p", typeOf(schema, api), parent);
};
const example = { "/v1/embeddings": { input: ["The Force will be with you. Always."], dimensions: 8 },
  "/v1/classify": { input: "It never stops raining.", labels: ["weather", "sport"] },
  "/v1/segment": { content: "Berlin is large. It rains.", chunking: "sentences", return_chunks: true },
  "/v1/similarity": { input: ["a cat", "a kitten", "a tax return"] },
  "/embed": { inputs: "a text" }, "/api/embed": { input: "a text" },
  "/v2/embed": { texts: ["a text"], input_type: "search_query" } };
const addTrial = (path, method, parent) => {
  const body = method === "post" ? element("textarea", "", parent) : null;
  if (body) {
    body.value = JSON.stringify(example[path] ?? {}, null, 2);
    body.ariaLabel = "Request body";
  }
  const send = element("button", "Send", parent), reply = element("pre", "", parent);
  send.onclick = async () => {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const key = document.getElementById("key").value;
    if (key) headers.Authorization = `Bearer ${key}`;
    try {
      const response = await fetch(path, { method: method.toUpperCase(), headers, body: body?.value });
      reply.textContent = `${response.status}\n${await response.text()}`;
    } catch (error) {
      reply.textContent = `no answer: ${error.message}`;
    }
  };
};
// A box for an operation: what it does, a trial, then its fields.
const show = (path, method, operation, api, parent) => {
  const box = element("details", "", parent), head = element("summary", "", box);
  box.open = path === FIRST;
  element("b", method.toUpperCase(), head).className = "method";
  element("code", path, head);
  head.append(` ${operation.summary ?? ""}`);
  if (operation.description) prose("p", operation.description, box);
  if (method !== "delete" && !path.includes("{")) addTrial(path, method, box);
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  if (body) { element("h3", "Request", box); fieldTable(body, api, box); }
  const responses = Object.entries(operation.responses), isRefusal = ([status]) => status >= "400";
  for (const [status, response] of responses.filter((response) => !isRefusal(response))) {
    element("h3", `Response ${status}`, box);
    const content = Object.values(response.content ?? {})[0]?.schema;
    if (content) fieldTable(content, api, box); else prose("p", response.description, box);
  }
  const refusals = responses.filter(isRefusal);
  if (!refusals.length) return;
  element("h3", "Refusals", box);
  table(["status", "reason"], refusals.map(([status, { description }]) => [status, description]), box);
  const error = Object.values(refusals[0][1].content ?? {})[0]?.schema;
  if (error) { element("h3", "Body of a refusal", box); fieldTable(error, api, box); }
};
fetch("/openapi.json").then((response) => response.json()).then((api) => {
  prose("span", api.info.description, document.getElementById("about"));
  const main = document.getElementById("paths"), byTag = {};
  main.textContent = "";
  const paths = Object.entries(api.paths).sort(([a], [b]) => (b === FIRST) - (a === FIRST));
  for (const [path, methods] of paths)
    for (const [method, operation] of Object.entries(methods))
      (byTag[operation.tags?.[0] ?? "Other"] ??= []).push([path, method, operation]);
  for (const [tag, operations] of Object.entries(byTag)) {
    element("h2", tag, main);
    for (const [path, method, operation] of operations) show(path, method, operation, api, main);
  }
}).catch((error) => { document.getElementById("paths").textContent = `cannot read /openapi.json: ${error.message}`; });
