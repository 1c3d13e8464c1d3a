// web/docs/docs.js: shows /openapi.json, and sends requests to try it.
//
// Everything is built from text nodes: nothing that the server or the user says is ever read as HTML.
"use strict";

const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
}

const credentials = () => {
    const token = $("token").value.trim();
    return token ? { Authorization: "Bearer " + token } : {};
};

/* A schema with its references followed, as far as it is shown. */
function resolve(api, schema, depth = 0) {
    if (Array.isArray(schema)) return schema.map((part) => resolve(api, part, depth));
    if (schema === null || typeof schema !== "object" || depth > 8) return schema;
    if (schema.$ref) {
        const found = schema.$ref.split("/").slice(1).reduce((node, key) => node && node[key], api);
        const { $ref, ...rest } = schema;
        return { ...resolve(api, found, depth + 1), ...rest };
    }
    return Object.fromEntries(Object.entries(schema).map(([key, part]) => [key, resolve(api, part, depth + 1)]));
}

function typeOf(schema) {
    const kind = [].concat(schema.type || []).join(" or ") || (schema.anyOf ? "one of several" : "any");
    const limits = [];
    if (schema.enum) limits.push(schema.enum.join(" | "));
    if (schema.minimum !== undefined) limits.push("from " + schema.minimum);
    if (schema.maximum !== undefined && schema.maximum < 1e15) limits.push("to " + schema.maximum);
    if (schema.default !== undefined) limits.push("default " + schema.default);
    return limits.length ? kind + " (" + limits.join(", ") + ")" : kind;
}

function parameterRow(api, parameter, inputs) {
    const schema = resolve(api, parameter.schema);
    const input = element("input", { placeholder: typeOf(schema), name: parameter.name });
    input.setAttribute("aria-label", parameter.name);
    inputs.push({ parameter, input });
    return element("tr", {},
        element("td", {}, element("code", { textContent: parameter.name }),
            parameter.required ? element("span", { className: "required", textContent: " *", title: "required" }) : null,
            element("br"), element("small", { textContent: parameter.in })),
        element("td", {}, input),
        element("td", { textContent: parameter.description }));
}

function bodyEditor(api, operation) {
    if (!operation.requestBody) return null;
    const content = operation.requestBody.content;
    const type = element("select", {}, ...Object.keys(content).map((name) => element("option", { textContent: name })));
    const text = element("textarea", { spellcheck: false });
    const show = () => {
        const schema = resolve(api, content[type.value].schema);
        const items = schema.items || {};
        const example = (schema.examples || (items.examples ? [items.examples] : [{}]))[0];
        text.value = JSON.stringify(example, null, 2);
    };
    type.setAttribute("aria-label", "Content-Type");
    text.setAttribute("aria-label", "body");
    type.addEventListener("change", show);
    show();
    return { type, text };
}

function addressOf(path, inputs) {
    const query = [];
    let address = path;
    for (const { parameter, input } of inputs) {
        if (parameter.in === "path")
            address = address.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
        else if (parameter.in === "query" && input.value !== "")
            query.push(encodeURIComponent(parameter.name) + "=" + encodeURIComponent(input.value));
    }
    return address + (query.length ? "?" + query.join("&") : "");
}

async function send(method, path, inputs, body, output) {
    const headers = credentials();
    for (const { parameter, input } of inputs)
        if (parameter.in === "header" && input.value !== "") headers[parameter.name] = input.value;
    if (body) headers["Content-Type"] = body.type.value;
    const address = addressOf(path, inputs);
    output.replaceChildren(element("p", { textContent: method.toUpperCase() + " " + address + " …" }));
    try {
        const began = performance.now();
        const reply = await fetch(address, { method: method.toUpperCase(), headers, body: body ? body.text.value : undefined,
            cache: "no-store", credentials: "omit" });
        const text = await reply.text();
        const took = Math.round(performance.now() - began);
        let shown = text;
        // Numbers of positions may be larger than JavaScript's: reformat only what survives it.
        try {
            const value = JSON.parse(text);
            if (!/\d{16}/.test(text)) shown = JSON.stringify(value, null, 2);
        } catch (error) { /* no JSON: as it is */ }
        output.replaceChildren(
            element("p", {}, element("span", { className: "status", textContent: reply.status + " " + reply.statusText }),
                " " + took + " ms, " + method.toUpperCase() + " " + address),
            element("pre", { textContent: [...reply.headers].map(([name, value]) => name + ": " + value).join("\n") + "\n\n" + shown }));
    } catch (error) {
        output.replaceChildren(element("p", { className: "required", textContent: String(error) }));
    }
}

function replies(api, operation) {
    return element("table", {}, ...Object.entries(operation.responses).map(([status, reply]) => {
        const resolved = reply.$ref ? resolve(api, reply) : reply;
        return element("tr", {}, element("td", { textContent: status }), element("td", { textContent: resolved.description }));
    }));
}

function fill(api, path, method, operation, place) {
    const inputs = [];
    const rows = (operation.parameters || []).map((parameter) => parameterRow(api, parameter, inputs));
    const body = bodyEditor(api, operation);
    const output = element("div", { className: "output" });
    const button = element("button", { type: "button", textContent: "Send" });
    const scopes = [...new Set((operation.security || []).flatMap((way) => Object.values(way).flat()))];

    button.addEventListener("click", () => send(method, path, inputs, body, output));
    place.append(
        scopes.length ? element("p", {}, "Scope: ", element("code", { textContent: scopes.join(" ") })) : "",
        rows.length ? element("table", {}, ...rows) : "",
        ...(body ? [element("p", {}, body.type), body.text] : []),
        element("p", {}, button), output, element("h3", { textContent: "Replies" }), replies(api, operation));
}

function operationNode(api, path, method, operation) {
    const place = element("div");
    const node = element("details", { id: operation.operationId },
        element("summary", {}, element("span", { className: "method " + method, textContent: method.toUpperCase() }),
            element("code", { textContent: path }), element("span", { textContent: operation.summary })), place);
    node.addEventListener("toggle", () => {
        if (node.open && !place.hasChildNodes()) fill(api, path, method, operation, place);
    });
    return node;
}

async function whoAmI() {
    const reply = await fetch("/v1/whoami", { headers: credentials(), cache: "no-store", credentials: "omit" });
    const who = await reply.json();
    $("who").textContent = reply.ok ? (who.user || "nobody") + " of tenant " + who.tenant + ": " + who.scopes.join(" ") : who.detail;
}

async function main() {
    const api = await (await fetch("/openapi.json")).json();
    const place = $("operations");
    const tags = new Map();

    $("about").textContent = api.info.description;
    for (const [path, operations] of Object.entries(api.paths))
        for (const [method, operation] of Object.entries(operations)) {
            const tag = operation.tags[0];
            if (!tags.has(tag)) tags.set(tag, []);
            tags.get(tag).push(operationNode(api, path, method, operation));
        }
    place.replaceChildren(...[...tags].flatMap(([tag, nodes]) => [element("h2", { textContent: tag }), ...nodes]));
    place.removeAttribute("aria-busy");
    if (location.hash && $(location.hash.slice(1))) $(location.hash.slice(1)).open = true;
    $("credentials").addEventListener("submit", (event) => event.preventDefault());
    $("token").addEventListener("change", whoAmI);
    await whoAmI();
}

main().catch((error) => { $("operations").textContent = "The description cannot be shown: " + error; });
