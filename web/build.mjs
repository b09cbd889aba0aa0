// Build the gallery into a folder: shared_lib/web/gallery unless another is given. The same sources give the same bytes.
// What not every user needs is a script of its own, which the page imports when it is wanted.
// Beside each larger file are its compressed copies, so that serving them takes no time.

import { createHash } from "node:crypto"
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { brotliCompressSync, gzipSync } from "node:zlib"
import { build } from "esbuild"

const here = dirname(fileURLToPath(import.meta.url))
const folder = process.argv[2] ?? join(here, "..", "shared_lib", "web", "gallery")
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 12)

const options = { absWorkingDir: here, bundle: true, minify: true, write: false, legalComments: "none", logLevel: "warning" }
const license = (name) => readFile(join(here, "node_modules", name, "LICENSE"), "utf8")
const script = await build({
  ...options,
  entryPoints: ["src/main.tsx"],
  format: "esm",
  splitting: true,
  outdir: "built",
  entryNames: "gallery-[hash]",
  chunkNames: "gallery-[name]-[hash]",
  metafile: true,
  target: "es2023",
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "utf8",
})
const style = await build({ ...options, entryPoints: ["src/style.css"], target: ["chrome123", "firefox120", "safari17.5"] })

const files = new Map()
const addAs = (full, bytes) => {
  files.set(full, bytes)
  if (bytes.length > 1400) {
    files.set(`${full}.br`, brotliCompressSync(bytes))
    files.set(`${full}.gz`, gzipSync(bytes, { level: 9 }))
  }
  return full
}
const add = (name, ending, bytes) => addAs(`${name}-${hash(bytes)}.${ending}`, bytes)
for (const { path, contents } of script.outputFiles) addAs(basename(path), contents)
const outputs = Object.entries(script.metafile.outputs)
const [entry, { imports }] = outputs.find(([, { entryPoint }]) => entryPoint === "src/main.tsx")
const needed = imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => basename(path))
const names = {
  script: basename(entry),
  preloads: needed.map((name) => `<link rel="modulepreload" href="/gallery/${name}">\n`).join(""),
  style: add("gallery", "css", style.outputFiles[0].contents),
  icon: add("icon", "svg", await readFile(join(here, "src/icon.svg"))),
}
const page = await readFile(join(here, "src/index.html"), "utf8")
files.set("index.html", page.replace(/{(\w+)}/g, (_, name) => names[name]))
// What the script contains of others. The package thumbhash names its license, and leaves its text out.
const texts = await Promise.all(["preact", "@preact/signals", "@preact/signals-core"].map(async (name) => `${name}\n\n${await license(name)}`))
const thumbhash = texts[0].slice(texts[0].indexOf("\n\n")).replace(/Copyright .*/, "Copyright (c) 2023 Evan Wallace")
files.set("LICENSES.txt", [...texts, `thumbhash${thumbhash}`].join("\n"))

await mkdir(folder, { recursive: true })
for (const old of await readdir(folder)) await rm(join(folder, old))
for (const [name, bytes] of files) await writeFile(join(folder, name), bytes)
