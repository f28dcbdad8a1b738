// Draws /openapi.json as a page. Everything is put in as text, never as markup.
"use strict";

const make = (name, text, attributes = {}) => {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

const table = (caption, heads, rows) => {
  const node = make("table");
  node.append(make("caption", caption));
  const head = make("tr");
  for (const text of heads) head.append(make("th", text, { scope: "col" }));
  node.append(head);
  for (const cells of rows) {
    const row = make("tr");
    cells.forEach((text, place) => row.append(place ? make("td", text) : make("th", text, { scope: "row" })));
    node.append(row);
  }
  return node;
};

const named = (schema, all) => (schema && schema.$ref ? all[schema.$ref.split("/").pop()] : schema) || {};

const typeOf = (schema, all) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, all)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, all)}`;
  const type = [].concat(schema.type || "any").join(" or ");
  return schema.enum ? `${type}: ${schema.enum.join(", ")}` : type;
};

const fields = (caption, schema, all) => {
  const found = named(schema, all);
  const required = new Set(found.required || []);
  const rows = Object.entries(found.properties || {}).map(([name, field]) => [
    required.has(name) ? `${name} (required)` : name,
    typeOf(field, all),
    [field.description || "", field.default === undefined ? "" : `Default: ${JSON.stringify(field.default)}.`].join(" "),
  ]);
  return table(caption, ["Field", "Type", "Meaning"], rows);
};

const jsonOf = (content = {}) => (content["application/json"] || {}).schema;

const drawOperation = (path, method, operation, all) => {
  const box = make("details", undefined, { id: operation.operationId });
  const summary = make("summary");
  summary.append(make("span", method.toUpperCase(), { class: "method" }), make("span", path, { class: "path" }));
  summary.append(make("span", ` ${operation.summary || ""}`, { class: "what" }));
  const body = make("div");
  if (operation.description) body.append(make("p", operation.description));
  const scope = operation["x-scope"];
  body.append(make("p", scope ? `Needs a key with scope ${scope}.` : "Needs no key."));
  if ((operation.parameters || []).length) {
    const rows = operation.parameters.map((one) => [
      `${one.name}${one.required ? " (required)" : ""}`, one.in, typeOf(one.schema, all), one.description || "",
    ]);
    body.append(table("Parameters", ["Name", "In", "Type", "Meaning"], rows));
  }
  const asked = operation.requestBody && jsonOf(operation.requestBody.content);
  if (asked) body.append(fields("Body (JSON)", asked, all));
  const statuses = Object.entries(operation.responses).map(([status, reply]) => [
    status, Object.keys(reply.content || {}).join(", "), reply.description || "",
  ]);
  body.append(table("Answers", ["Status", "Form", "Meaning"], statuses));
  for (const [status, reply] of Object.entries(operation.responses)) {
    const told = status < "300" && jsonOf(reply.content);
    if (told) body.append(fields(`Answer ${status} (JSON)`, told, all));
  }
  box.append(summary, body);
  box.dataset.words = `${method} ${path} ${operation.summary} ${statuses.flat().join(" ")}`.toLowerCase();
  return box;
};

const drawSchemas = (schemas) => {
  const section = make("section");
  section.append(make("h2", "Forms", { id: "forms" }));
  for (const [name, schema] of Object.entries(schemas)) {
    const box = make("details", undefined, { id: `form-${name}` });
    const body = make("div");
    body.append(fields(name, schema, schemas));
    box.append(make("summary", name), body);
    box.dataset.words = name.toLowerCase();
    section.append(box);
  }
  return section;
};

const drawCodes = (codes) => {
  const section = make("section");
  section.append(make("h2", "Problem codes", { id: "codes" }));
  const node = table("Every `code` a problem may carry", ["Code", "Status"], Object.entries(codes));
  Object.keys(codes).forEach((code, place) => node.rows[place + 1].setAttribute("id", code));
  section.append(node);
  return section;
};

const draw = (description) => {
  const main = document.getElementById("main");
  const tags = document.getElementById("tags");
  const schemas = description.components.schemas;
  document.getElementById("about").textContent = description.info.description;
  const link = (id, text) => {
    const item = make("li");
    item.append(make("a", text, { href: `#${id}` }));
    tags.append(item);
  };
  for (const tag of description.tags) {
    const section = make("section");
    section.append(make("h2", tag.name, { id: `tag-${tag.name}` }), make("p", tag.description));
    for (const [path, item] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if ((operation.tags || []).includes(tag.name)) section.append(drawOperation(path, method, operation, schemas));
      }
    }
    main.append(section);
    link(`tag-${tag.name}`, tag.name);
  }
  main.append(drawSchemas(schemas), drawCodes(description["x-problem-codes"]));
  link("forms", "Forms");
  link("codes", "Problem codes");
};

const filter = () => {
  const wanted = document.getElementById("filter").value.trim().toLowerCase();
  const boxes = [...document.querySelectorAll("details")];
  for (const box of boxes) box.hidden = !box.dataset.words.includes(wanted);
  const left = boxes.filter((box) => !box.hidden).length;
  document.getElementById("count").textContent = wanted ? `${left} of ${boxes.length} shown` : "";
};

const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
};

const begin = async () => {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`/openapi.json answers ${answer.status}`);
    draw(await answer.json());
    document.getElementById("filter").addEventListener("input", filter);
    window.addEventListener("hashchange", openTarget);
    openTarget();
  } catch (problem) {
    document.getElementById("about").textContent = `The description cannot be shown: ${problem.message}`;
  }
};

begin();
