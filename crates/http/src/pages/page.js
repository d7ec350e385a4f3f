// Draws the served OpenAPI document: operations by tag, each with a form to try it. Text goes in as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let spec;

/** An element with attributes and children; nothing is drawn for an absent child. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return node;
}

/** Text whose backquoted parts are code. */
const prose = (text) => (text ?? "").split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
const paragraphs = (text) => (text ?? "").split("\n\n").map((part) => el("p", {}, prose(part)));
const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** What a `$ref` leads to, with what stands beside it. */
function resolve(node) {
  if (!node?.$ref) return node ?? {};
  const { $ref, ...beside } = node;
  const target = $ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], spec);
  return { ...resolve(target), ...beside };
}

/** A schema in a few words: type, choices, bounds. */
function kind(schema) {
  const { type, format, enum: choices, items, oneOf, allOf, ...rest } = resolve(schema);
  const union = oneOf ?? allOf;
  if (union) return union.map(kind).filter((part) => part !== "any").join(oneOf ? " or " : ", ");
  const bounds = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern", "default"]
    .filter((name) => rest[name] !== undefined)
    .map((name) => `${name} ${rest[name]}`);
  const what = choices ? choices.join(" | ") : items ? `array of ${kind(items)}` : [type ?? "any"].flat().join(" or ");
  return [format ? `${what} (${format})` : what, ...bounds].join(", ");
}

function table(heads, rows) {
  if (!rows.length) return undefined;
  const head = el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))));
}

/** The fields of an object's schema. */
function fields(schema) {
  const { properties = {}, required = [] } = resolve(schema);
  return table(["field", "type", "meaning"], Object.entries(properties).map(([name, field]) => [
    el("code", {}, name + (required.includes(name) ? " *" : "")),
    kind(field),
    prose(resolve(field).description ?? resolve(field.oneOf?.at(-1)).description),
  ]));
}

const example = (content) => content.example ?? Object.values(content.examples ?? {})[0]?.value;

function answer([status, found]) {
  const response = resolve(found);
  const headers = Object.entries(response.headers ?? {}).map(([name, header]) => [el("code", {}, name), prose(header.description)]);
  const bodies = Object.entries(response.content ?? {}).map(([type, content]) => [
    el("p", { class: "note" }, type),
    example(content) !== undefined ? el("pre", { tabindex: 0 }, pretty(example(content))) : undefined,
    type === "application/json" ? fields(content.schema) : undefined,
  ]);
  return el("details", {}, el("summary", {}, el("strong", {}, status), " ", prose(response.description.split("\n")[0])),
    paragraphs(response.description), bodies.flat(), table(["header", "meaning"], headers));
}

/** Reads an answer to its end, or until stopped: streams have no end. */
async function show(response, output) {
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  output.textContent = `${response.status} ${response.statusText}\n${headers}\n\n`;
  const isJson = /json/.test(response.headers.get("content-type"));
  if (isJson) {
    output.textContent += pretty(JSON.parse(await response.text()));
    return;
  }
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece; reader && !(piece = await reader.read()).done;) output.append(piece.value);
}

function request(method, path, operation, form) {
  const query = new URLSearchParams();
  const headers = new Headers();
  const key = document.getElementById("key").value.trim();
  if (key && operation.security.length) headers.set("authorization", `Bearer ${key}`);
  for (const parameter of operation.parameters ?? []) {
    const value = form.elements[`p-${parameter.name}`].value.trim();
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (!value) continue;
    else if (parameter.in === "header") headers.set(parameter.name, value);
    else if (resolve(parameter.schema).type === "object") new URLSearchParams(value).forEach((item, name) => query.append(name, item));
    else query.set(parameter.name, value);
  }
  if (operation.requestBody) headers.set("content-type", "application/json");
  return [path + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers, body: form.elements.body?.value }];
}

function tryIt(method, path, operation) {
  const output = el("pre", { "aria-live": "polite", tabindex: 0, hidden: true });
  const stop = el("button", { type: "button", hidden: true, onclick: () => stop.controller.abort() }, "Stop");
  const inputs = (operation.parameters ?? []).map((parameter) => el("p", {}, el("label", {}, `${parameter.name} (${parameter.in}) `,
    el("input", { name: `p-${parameter.name}`, required: parameter.required, placeholder: parameter.name === "tags" ? "tag.region=eu" : undefined }))));
  const body = operation.requestBody?.content["application/json"];
  const choices = Object.values(body?.examples ?? {});
  const text = body && el("textarea", { name: "body", spellcheck: "false", "aria-label": "request body" }, pretty(choices[0]?.value ?? {}));
  const pick = choices.map((choice) => el("button", { type: "button", onclick: () => (text.value = pretty(choice.value)) }, choice.summary));
  const send = async (event) => {
    event.preventDefault();
    stop.controller?.abort();
    stop.controller = new AbortController();
    output.hidden = stop.hidden = false;
    output.textContent = "…";
    try {
      const [url, options] = request(method, path, operation, event.target);
      await show(await fetch(url, { ...options, signal: stop.controller.signal }), output);
    } catch (error) {
      output.append(`\n${error.name}: ${error.message}`);
    }
    stop.hidden = true;
  };
  return el("form", { onsubmit: send }, el("h4", {}, "Try it"), inputs, pick.length > 1 ? el("p", {}, "Examples: ", pick) : undefined,
    text, el("p", {}, el("button", { type: "submit" }, "Send"), " ", stop), output);
}

function draw(method, path, operation) {
  const scopes = operation.security.flatMap((one) => one.key ?? []);
  const parameters = (operation.parameters ?? []).map((parameter) => [
    el("code", {}, parameter.name + (parameter.required ? " *" : "")), parameter.in, kind(parameter.schema), prose(parameter.description)]);
  const body = operation.requestBody?.content["application/json"];
  const content = () => [
    paragraphs(operation.description),
    scopes.length ? el("p", { class: "note" }, "Needs a key with the scope ", el("code", {}, scopes.join(" or ")), ".") : undefined,
    table(["parameter", "in", "type", "meaning"], parameters),
    body ? [el("h4", {}, "Body"), el("pre", { tabindex: 0 }, pretty(example(body))), fields(body.schema)] : undefined,
    el("h4", {}, "Answers"), Object.entries(operation.responses).map(answer),
    tryIt(method, path, operation),
  ].flat().filter(Boolean);
  const title = el("summary", {}, el("span", { class: "method" }, method.toUpperCase()), el("code", {}, path), " ", operation.summary);
  const details = el("details", { id: operation.operationId }, title);
  // Drawn when it is opened: all of them at once would be thousands of elements.
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(...content()));
  return details;
}

/** Opens the operation that the address names. */
function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.tagName === "DETAILS") {
    named.open = true;
    named.scrollIntoView();
  }
}

async function main() {
  const key = document.getElementById("key");
  key.value = sessionStorage.getItem("posthaste-key") ?? "";
  key.addEventListener("change", () => sessionStorage.setItem("posthaste-key", key.value));
  spec = await (await fetch("/openapi.json")).json();
  const operations = Object.entries(spec.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => [method, path, item[method]]));
  const sections = spec.tags.map((tag) => {
    const own = operations.filter(([, , operation]) => operation.tags.includes(tag.name));
    return el("section", { "aria-labelledby": `tag-${tag.name}` }, el("h2", { id: `tag-${tag.name}` }, tag.name),
      paragraphs(tag.description), own.map((operation) => draw(...operation)));
  });
  const links = operations.map(([method, path, operation]) =>
    el("li", {}, el("a", { href: `#${operation.operationId}` }, operation.summary)));
  document.getElementById("contents").append(el("details", {}, el("summary", {}, "Contents"), el("ul", {}, links)));
  document.getElementById("content").replaceChildren(...paragraphs(spec.info.description), ...sections);
  addEventListener("hashchange", openNamed);
  openNamed();
}

main().catch((error) => document.getElementById("content").replaceChildren(el("p", { role: "alert" }, `The document cannot be read: ${error.message}`)));
