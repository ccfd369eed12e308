/* A page that shows what openapi.json says, and lets each address be tried. */

import { get, marked, send } from "./common.js";

const NAMED = "#/components/schemas/";

/* What kind of value a schema stands for: words, and links to schemas that have a name. */
function kind(schema) {
  if (!schema) return [];
  if (schema.$ref) {
    const name = schema.$ref.replace(NAMED, "");
    return [made("a", name, { href: `#${name}` })];
  }
  if (schema.anyOf) {
    return schema.anyOf.flatMap((one, i) => (i ? [" or ", ...kind(one)] : kind(one)));
  }
  if (schema.type === "array") {
    return ["list of ", ...kind(schema.items), schema.items.type ? "s" : ""];
  }
  return [schema.format === "binary" ? "file" : schema.type || "any value"];
}

/* The limits and the default of a parameter. */
function limits(schema) {
  const one = (schema.anyOf || [schema]).find((any) => any.type !== "null");
  const parts = [];
  if (one.minimum !== undefined) {
    parts.push(one.maximum === undefined ? `from ${one.minimum}` : `${one.minimum} to ${one.maximum}`);
  }
  if (schema.default !== undefined) parts.push(`default: ${schema.default}`);
  return parts.join(", ");
}

function made(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.append(...[text].flat());
  return Object.assign(element, attributes);
}

const row = (...cells) => made("tr", cells.map((cell) => made("td", cell)));

function field(name, hint, attributes) {
  const item = get("field").content.cloneNode(true);
  item.querySelector("code").textContent = name;
  item.querySelector(".hint").textContent = hint;
  Object.assign(item.querySelector("input"), { name, ...attributes });
  return item;
}

/* One address with its fields, answers and errors. */
function address(path, method, what) {
  const item = get("address").content.cloneNode(true);
  const section = item.querySelector("section");
  section.id = path.split("/")[1];
  item.querySelector(".method").textContent = method.toUpperCase();
  item.querySelector("h2 code").textContent = path;
  item.querySelector(".what").append(...marked(what.description || ""));
  const fields = item.querySelector(".fields");
  if (what.requestBody) {
    fields.append(field("file", "a photo", { type: "file", accept: "image/*", required: true }));
  }
  for (const one of what.parameters || []) {
    const hint = [one.description, limits(one.schema)].filter(Boolean).join("; ");
    const value = one.required ? "0" : "";
    fields.append(field(one.name, hint, { required: one.required, inputMode: "numeric", value }));
  }
  const upload = what.requestBody ? "-F file=@robin.jpg " : "";
  const here = new URL(".", location.href).href + path.slice(1).replace("{row}", "0");
  item.querySelector(".curl").textContent = `curl ${upload}'${here}'`;
  for (const [status, answer] of Object.entries(what.responses)) {
    item.querySelector("tbody").append(row(status, meaning(status, answer)));
  }
  const form = item.querySelector("form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form, path, method, what);
  });
  return item;
}

function meaning(status, answer) {
  const [type, content] = Object.entries(answer.content || {})[0] || [];
  if (status !== "200") return answer.description;
  return type === "application/json" ? kind(content.schema) : `${answer.description}, ${type}`;
}

/* Send what the form holds, and show the answer. */
async function attempt(form, path, method, what) {
  const given = new FormData(form);
  let [target, body] = [path.slice(1), undefined];
  const query = new URLSearchParams();
  for (const { name, in: place } of what.parameters || []) {
    const value = given.get(name);
    if (place === "path") target = target.replace(`{${name}}`, encodeURIComponent(value));
    else if (value) query.set(name, value);
  }
  if (what.requestBody) {
    body = new FormData();
    body.append("file", given.get("file"));
  }
  if (query.size) target += `?${query}`;
  const outcome = form.querySelector(".outcome");
  outcome.textContent = "Waiting …";
  try {
    const response = await send(target, { method: method.toUpperCase(), body }, body?.get("file"));
    await display(form, response);
    outcome.textContent = `${method.toUpperCase()} ${target}: ${response.status}`;
  } catch (error) {
    outcome.textContent = error.message;
  }
}

async function display(form, response) {
  const [image, text] = [form.querySelector(".image"), form.querySelector(".answer")];
  const type = response.headers.get("content-type") || "";
  const picture = type.startsWith("image/");
  image.hidden = !picture;
  text.hidden = picture;
  if (image.src) URL.revokeObjectURL(image.src);
  if (picture) image.src = URL.createObjectURL(await response.blob());
  else if (type === "application/json") text.textContent = JSON.stringify(await response.json(), null, 2);
  else text.textContent = await response.text(); // a proxy's answer
}

function schema(name, what) {
  const section = made("section", made("h3", name), { id: name, className: "box" });
  for (const text of (what.description || "").split("\n\n")) {
    section.append(made("p", marked(text), { className: "what" }));
  }
  const rows = Object.entries(what.properties).map(([key, value]) =>
    row(made("code", key), made("span", kind(value), { className: "kind" })));
  section.append(made("table", made("tbody", rows)));
  return section;
}

async function start() {
  const response = await fetch("openapi.json").catch(() => null);
  if (!response || !response.ok) {
    get("error").textContent = "The server does not answer. Is it still running?";
    get("error").hidden = false;
    return;
  }
  const api = await response.json();
  get("facts").textContent = `${api.info.title} ${api.info.version}`;
  get("about").textContent = api.info.description;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, what] of Object.entries(methods)) {
      const text = `${method.toUpperCase()} ${path}`;
      get("contents").append(made("a", text, { href: `#${path.split("/")[1]}` }));
      get("addresses").append(address(path, method, what));
    }
  }
  for (const [name, what] of Object.entries(api.components.schemas)) {
    if (what.properties) get("schemas").append(schema(name, what));
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

start();
