// Swagger UI, in whose examples the newest image and collection stand: no made-up uuid could be tried out.

const EXAMPLES = [
  {uuid: "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11", list: "../api/v1/images?limit=1&include=none"},
  {uuid: "7d1f6a0e-3c61-4f0e-9b57-0a4c8a1f6f2b", list: "../api/v1/collections?limit=1"},
  {uuid: "4tR9kQ2mZx", list: "../api/v1/api-keys"},
  {uuid: "471104711047110", list: "../api/v1/operations/dead-letters?limit=1"},
];

async function findNewest(list) {
  try {
    const found = await (await fetch(list)).json();
    const [newest] = found.data ?? found;
    return newest?.uuid ?? newest?.id;
  } catch {
    return undefined; // the page is of use without it
  }
}

async function start() {
  let text = await (await fetch("../openapi.json")).text();
  for (const {uuid, list} of EXAMPLES) {
    text = text.replaceAll(uuid, (await findNewest(list)) ?? uuid);
  }
  const spec = JSON.parse(text);
  spec.info.description +=
    "\n\nThe examples on this page name the newest processed image and the newest collection that there were when it " +
    "was loaded. Upload an image and create a collection first, then reload the page.\n\n" +
    "[The description as a file](../openapi.json)";
  SwaggerUIBundle({spec, dom_id: "#ui", deepLinking: true, tryItOutEnabled: true, defaultModelsExpandDepth: 0});
}

start();
