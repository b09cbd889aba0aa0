// Swagger UI whose examples work, and touch nothing of anybody. The description's examples name an image, a collection, an
// API key and an upload in parts that do not exist, and a preset that may. Before a request with such an ID is sent, one is made for it, with
// the credentials of that request. Nothing is asked for before.

const PICTURE =
  "iVBORw0KGgoAAAANSUhEUgAAAUAAAADwAQMAAABL4y8oAAAABlBMVEU8WqDw0nixA501AAACLklEQVR42u1ZO3LDIBDFSGOryMQq00W+gct0ITfMEXIUHUVlShUplBmZTWHrs6BdMCSKPcNrDOzzftgFGxAiISEhISHhNrEH6Hx4GwCA2oP4DADQW8OZNdIKIYTcOHXuAAAAWnNcmgMv549Hp+nmEpLLdgYXNO5JPKNz+HgcGluHj6NFh5Oji5aThul8apYs8WlqPrDEipQYXTWrImeJDagZjZJwwyLm807JEAuyYxCP886WISoUGZNrHCjKtqR1YP3SL02GLMfEkl1cFCQ9c7gr6VxgT5jsMoEqo5aCgsnoxODUSMHUtCJMW25UsROem8KSIBYmsYg1XZrCPFZjxQmDNCprh4ktCnsvnlVFiI8LG6KKi3rhO1XsuvYk5ra0XMl0YUuLlUyXtjRfybQ3sbq2ZP7BR2+iWvjrcLfBJGIiJuJ1xIUTEdxtMAtnS31rPra2tF/J9MLlRLeSafsSYz4Rf2pa29ImTiPY0jr2hGT9EL9FTk/NLOswjQ2ztsI0tsxKCNPYMQWOiD1TjmGmNVNliAhM8RgXGoqsicA1U9M1gYkNnWpMbOkMYmJHJyYwmJ7OICZqOjGYCHRizGtFRSXGCKYWgt05RuznV3Yds+119KxKOhctQ9R05jP6RH3gtuaaDFqSydBs6nfT7LSsxp4sToN4mpoffNm9Dpa1oz69b6+/hsang3jydHF0UjsXkfcrwPf54929LomXioXTpe/bh/drSkJCQkJCwu/hB5iNzkm+/ijRAAAAAElFTkSuQmCC";
const IMAGE = "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11";
const PRESET = "example-of-swagger-ui";
const MAX_POLLS = 40;

const rest = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function send(method, path, headers, body) {
  const response = await fetch(`../api/v1/${path}`, {method, headers, body});
  return response.ok ? response.json() : undefined;
}

const post = (path, headers, body) =>
  send("POST", path, {...headers, "Content-Type": "application/json"}, JSON.stringify(body));

async function makeImage(headers) {
  const form = new FormData();
  const bytes = Uint8Array.from(atob(PICTURE), (each) => each.charCodeAt(0));
  form.append("file", new File([bytes], "example.png", {type: "image/png"}));
  const made = await send("POST", "images/actions/upload", headers, form);
  for (let polls = 0; made && polls < MAX_POLLS; polls++) {
    const image = await send("GET", `images/${made.data.uuid}`, headers);
    if (image?.status !== "pending" && image?.status !== "processing") break;
    await rest(250);
  }
  return made?.data.uuid;
}

const makeUpload = async (headers) =>
  (await post("images/actions/multipart-upload", headers, {sizeBytes: 9, extension: "png"}))?.uuid;
const makeCollection = async (headers) => (await post("collections", headers, {name: "Example of Swagger UI"}))?.data.uuid;
const makePreset = async (headers) => (await post("presets", headers, {recipe: {name: PRESET}})) && PRESET;
const makeKey = async (headers) =>
  (await post("api-keys", headers, {name: "Example of Swagger UI", role: "viewer", expiresInDays: 1}))?.data.id;

// What stands for an example, where it is looked at, and how another is made.
const EXAMPLES = [
  {stands: IMAGE, isAbout: /multipart-upload(\/parts)?$/, find: (id) => `images/${id}/multipart-upload`, make: makeUpload},
  {stands: IMAGE, isAbout: /./, find: (id) => `images/${id}`, make: makeImage},
  {stands: "7d1f6a0e-3c61-4f0e-9b57-0a4c8a1f6f2b", isAbout: /./, find: (id) => `collections/${id}`, make: makeCollection},
  {stands: "hero", isAbout: /\/presets/, find: (id) => `presets/${id}`, make: makePreset},
  {stands: "4tR9kQ2mZx", isAbout: /api-keys/, make: makeKey},
];

// The example that was made before, if it is still there, or another.
async function findOrMake(example, headers) {
  const isThere = example.made && example.find && (await send("GET", example.find(example.made), headers));
  if (!isThere) example.made = await example.make(headers);
  return example.made;
}

async function withExamples(request) {
  const {authorization, Authorization = authorization, "X-API-Key": key} = request.headers ?? {};
  const headers = {...(Authorization && {Authorization}), ...(key && {"X-API-Key": key})};
  for (const example of EXAMPLES) {
    const isNamed = request.url.includes(example.stands) || `${request.body ?? ""}`.includes(example.stands);
    if (!isNamed || !example.isAbout.test(request.url)) continue;
    const made = await findOrMake(example, headers);
    if (!made) continue; // the request is refused for the same reason
    request.url = request.url.replaceAll(example.stands, made);
    if (typeof request.body === "string") request.body = request.body.replaceAll(example.stands, made);
  }
  return request;
}

async function start() {
  const spec = await (await fetch("../openapi.json")).json();
  spec.info.description +=
    "\n\nThe examples on this page name no image, collection or key of yours. When you execute one, the page makes an " +
    "example of its own for it, and only that is changed or deleted.\n\n" +
    "[The description as a file](../openapi.json)";
  const options = {deepLinking: true, tryItOutEnabled: true, defaultModelsExpandDepth: 0};
  SwaggerUIBundle({spec, dom_id: "#ui", requestInterceptor: withExamples, ...options});
}

start();
