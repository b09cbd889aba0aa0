/** The queue of uploads: three at a time, each tried again by itself after an outage. */

import { computed, effect, signal } from "@preact/signals"
import * as api from "./api"
import type { Image } from "./api"
import * as library from "./library"

const AT_ONCE = 3
const TRIES = 4
/** What the service takes in one request by default. Larger files go in parts. */
const MOST_BYTES_AT_ONCE = 10 * 1024 * 1024

export type Stage = "waiting" | "uploading" | "processing" | "done" | "failed" | "refused"

export interface Upload {
  id: number
  file: File
  stage: Stage
  /** From 0 to 1. */
  progress: number
  /** Why it failed. */
  reason: string
  uuid: string
}

export interface Preview {
  url: string
  width: number
  height: number
}

export const uploads = signal<Upload[]>([])
/** Local pictures of images that the service is still making. */
export const previews = new Map<string, Preview>()

const isOpen = (each: Upload) => each.stage === "waiting" || each.stage === "uploading"
export const counts = computed(() => ({
  open: uploads.value.filter((each) => isOpen(each) || each.stage === "processing").length,
  done: uploads.value.filter((each) => each.stage === "done").length,
  failed: uploads.value.filter((each) => each.stage === "failed" || each.stage === "refused").length,
}))

/** Uploads under way. Aborting one breaks its transfers off. */
const running = new Map<number, AbortController>()
/** Uploads in parts that have begun: a later attempt goes on with the parts that are missing. */
const begun = new Map<number, api.MultipartPlan>()
let last = 0

function change(id: number, changes: Partial<Upload>): void {
  uploads.value = uploads.peek().map((each) => (each.id === id ? { ...each, ...changes } : each))
}

export function enqueue(files: File[]): void {
  const added = files.map((file): Upload => ({ id: ++last, file, stage: "waiting", progress: 0, reason: "", uuid: "" }))
  uploads.value = [...uploads.peek(), ...added]
  startNext()
}

function startNext(): void {
  const waiting = uploads.peek().find((each) => each.stage === "waiting")
  if (!waiting || running.size >= AT_ONCE) return
  void run(waiting)
  startNext()
}

async function run({ id, file }: Upload): Promise<void> {
  const controller = new AbortController()
  running.set(id, controller)
  change(id, { stage: "uploading", progress: 0, reason: "" })
  const report = (progress: number) => change(id, { progress })
  try {
    const uuid = await (file.size > MOST_BYTES_AT_ONCE ? putParts : post)(id, file, report, controller.signal)
    const preview = await look(file)
    if (preview) previews.set(uuid, preview)
    change(id, { stage: "processing", progress: 1, uuid })
    library.add(placeholder(uuid, file, preview))
  } catch (error) {
    const { status, message } = error as api.ApiError
    const isLasting = status >= 400 && status < 500 && status !== 401 && status !== 429
    change(id, { stage: isLasting ? "refused" : "failed", reason: message })
  } finally {
    running.delete(id)
    startNext()
  }
}

/** Try again what an outage or a busy service interrupted. */
async function persist<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt()
    } catch (error) {
      const { status, retrySeconds } = error as api.ApiError
      if (tried === TRIES || !(status === 429 || status === 503)) throw error
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(retrySeconds, 2 ** tried)))
    }
  }
}

type Report = (progress: number) => void

async function post(_id: number, file: File, report: Report, signal: AbortSignal): Promise<string> {
  const form = new FormData()
  form.append("renditions", JSON.stringify(api.RENDITIONS))
  form.append("file", file)
  const send = () =>
    transfer("POST", "/api/v1/images/actions/upload", api.authorization(), form, (bytes, all) => report(bytes / all), signal)
  return JSON.parse(await persist(send)).data.uuid
}

/** Put a large file into the store in parts. The service never holds it whole. */
async function putParts(id: number, file: File, report: Report, signal: AbortSignal): Promise<string> {
  const before = begun.get(id)
  const plan = before ?? (await persist(() => api.beginMultipart(file)))
  begun.set(id, plan)
  const { uuid, partSizeBytes } = plan
  const missing = before ? await api.listMissingParts(uuid) : Array.from({ length: plan.partCount }, (_, index) => index + 1)
  let done = file.size - missing.reduce((sum, number) => sum + partOf(file, number, partSizeBytes).size, 0)
  for (const number of missing) {
    const part = partOf(file, number, partSizeBytes)
    await persist(async () => {
      const url = await api.signPart(uuid, number)
      return transfer("PUT", url, {}, part, (bytes) => report((done + bytes) / file.size), signal)
    })
    done += part.size
  }
  await persist(() => api.completeMultipart(uuid))
  begun.delete(id)
  await api.orderRenditions(uuid).catch(() => undefined) // the large view offers to order them
  return uuid
}

const partOf = (file: File, number: number, size: number) => file.slice((number - 1) * size, number * size)

/** Send a body and return the response's. fetch() tells nothing of the progress, so this is an XMLHttpRequest. */
function transfer(
  method: string,
  url: string,
  headers: Record<string, string>,
  body: FormData | Blob,
  report: (bytes: number, all: number) => void,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const fail = () => reject(api.toError(request.status, request.responseText, request.getResponseHeader("Retry-After")))
    request.open(method, url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = (event) => report(event.loaded, event.total)
    request.onload = () => (request.status === 200 ? resolve(request.responseText) : fail())
    request.onerror = fail
    request.onabort = fail
    signal.addEventListener("abort", () => request.abort())
    request.send(body)
  })
}

/** Return a picture of the file to show meanwhile, or null if this browser cannot show it. */
async function look(file: File): Promise<Preview | null> {
  const picture = new Image()
  picture.src = URL.createObjectURL(file)
  try {
    await picture.decode()
    return { url: picture.src, width: picture.naturalWidth, height: picture.naturalHeight }
  } catch {
    URL.revokeObjectURL(picture.src)
    return null
  }
}

function forgetPreview(uuid: string): void {
  const preview = previews.get(uuid)
  previews.delete(uuid)
  if (preview) setTimeout(() => URL.revokeObjectURL(preview.url), 5000) // the picture takes over meanwhile
}

function placeholder(uuid: string, file: File, preview: Preview | null): Image {
  return {
    uuid,
    filename: file.name,
    description: null,
    status: "pending",
    createdAt: new Date().toISOString(),
    collectionId: null,
    contentType: file.type || null,
    sizeBytes: file.size,
    width: preview?.width ?? null,
    height: preview?.height ?? null,
    sha256: null,
    metadata: null,
    renditions: [],
    pendingRenditions: [],
    error: null,
    attempts: 0,
  }
}

export function retry(id: number): void {
  change(id, { stage: "waiting", reason: "" })
  startNext()
}

/** Take an upload out of the list. One that is under way is broken off. */
export function dismiss(id: number): void {
  uploads.value = uploads.peek().filter((each) => each.id !== id)
  running.get(id)?.abort()
  const plan = begun.get(id)
  if (begun.delete(id) && plan) api.abortMultipart(plan.uuid).catch(() => undefined) // the service forgets it in time
}

export function clearFinished(): void {
  uploads.value = uploads.peek().filter((each) => isOpen(each) || each.stage === "processing")
}

effect(() => {
  if (uploads.value.some(isOpen)) addEventListener("beforeunload", warn)
  else removeEventListener("beforeunload", warn)
})

function warn(event: BeforeUnloadEvent): void {
  event.preventDefault()
}

/** Pass on what became of images that this page uploaded. */
export function settle(images: Image[]): void {
  const byUuid = new Map(images.map((each) => [each.uuid, each]))
  for (const { id, uuid } of uploads.peek().filter((each) => each.stage === "processing")) {
    const image = byUuid.get(uuid)
    if (image?.status === "succeeded") change(id, { stage: "done" })
    if (image && image.status !== "pending" && image.status !== "processing") forgetPreview(uuid)
    if (image?.status === "failed") change(id, { stage: "refused", reason: describe(image) })
  }
}

export function describe(image: Image): string {
  return image.error ? new api.ApiError(422, image.error.code, image.error.message).message : ""
}

/** Read dropped files, those in folders included. */
export async function readDrop(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].flatMap((each) => each.webkitGetAsEntry() ?? [])
  if (!entries.length) return [...transfer.files]
  return (await Promise.all(entries.map(readEntry))).flat()
}

async function readEntry(entry: FileSystemEntry): Promise<File[]> {
  if (entry.name.startsWith(".")) return [] // what systems leave in folders, such as .DS_Store
  if (entry.isFile)
    return [await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))]
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const found: File[] = []
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (!some.length) return found
    for (const each of some) found.push(...(await readEntry(each)))
  }
}
