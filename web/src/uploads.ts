/**
 * The queue of uploads: three at a time, each tried again by itself after an outage.
 *
 * A file that the service already has is not sent. Its SHA-256 also tells whether an upload arrived whose answer got lost
 * with the connection, so that trying again makes no second image. Browsers compute it on a thread of their own, and only
 * on pages from https or from this machine. Elsewhere every file is sent.
 */

import { computed, effect, signal } from "@preact/signals"
import * as api from "./api"
import type { Image } from "./api"
import * as library from "./library"

const AT_ONCE = 3
const TRIES = 10
const MAX_WAIT_SECONDS = 15
/** What the service takes in one request by default. Larger files go in parts. */
const MOST_BYTES_AT_ONCE = 10 * 1024 * 1024

export type Stage = "waiting" | "uploading" | "processing" | "done" | "failed" | "refused" | "duplicate"

export interface Upload {
  id: number
  file: File
  stage: Stage
  /** From 0 to 1. */
  progress: number
  /** Why it failed, or is being tried again. */
  reason: string
  uuid: string
  /** Send it even if the service already has it. */
  isWanted: boolean
}

export interface Preview {
  url: string
  width: number
  height: number
}

export const uploads = signal<Upload[]>([])
/** No further file is begun, and a large one stops after the part that is under way. */
export const isPaused = signal(false)
/** Local pictures of images that the service is still making. */
export const previews = new Map<string, Preview>()

const isOpen = (each: Upload) => each.stage === "waiting" || each.stage === "uploading"
export const counts = computed(() => ({
  open: uploads.value.filter((each) => isOpen(each) || each.stage === "processing").length,
  done: uploads.value.filter((each) => each.stage === "done").length,
  duplicates: uploads.value.filter((each) => each.stage === "duplicate").length,
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
  const added = files.map((file): Upload => ({ id: ++last, file, stage: "waiting", progress: 0, reason: "", uuid: "", isWanted: false }))
  uploads.value = [...uploads.peek(), ...added]
  startNext()
}

function startNext(): void {
  const waiting = uploads.peek().find((each) => each.stage === "waiting")
  if (!waiting || running.size >= AT_ONCE || isPaused.peek()) return
  void run(waiting)
  startNext()
}

export function togglePause(): void {
  isPaused.value = !isPaused.value
  startNext()
}

class Paused extends Error {}

async function run({ id, file, isWanted }: Upload): Promise<void> {
  const controller = new AbortController()
  running.set(id, controller)
  change(id, { stage: "uploading", progress: 0, reason: "" })
  const work: Work = { id, file, report: (progress) => change(id, { progress, reason: "" }), signal: controller.signal, sha256: "", known: "" }
  try {
    work.sha256 = await digest(file)
    // At once, in the order of the choice: answers of the service come in any order.
    const twin = findTwin(id, work.sha256)
    const equal = work.sha256 && !begun.has(id) ? await persist(work, () => api.findEqual(work.sha256)) : undefined
    work.known = equal?.uuid ?? ""
    if (equal && !isWanted) return change(id, { stage: "duplicate", uuid: equal.uuid, reason: equal.filename })
    if (twin && !isWanted) return change(id, { stage: "duplicate", uuid: twin.uuid, reason: twin.file.name })
    const uuid = await (file.size > MOST_BYTES_AT_ONCE ? putParts : post)(work)
    const preview = await look(file)
    if (preview) previews.set(uuid, preview)
    change(id, { stage: "processing", progress: 1, uuid, reason: "" })
    library.add(placeholder(uuid, file, preview))
  } catch (error) {
    if (error instanceof Paused) return change(id, { stage: "waiting" })
    const { status, message } = error as api.ApiError
    const isLasting = status >= 400 && status < 500 && status !== 401 && status !== 429
    change(id, { stage: isLasting ? "refused" : "failed", reason: message })
  } finally {
    running.delete(id)
    startNext()
  }
}

interface Work {
  id: number
  file: File
  report: (progress: number) => void
  signal: AbortSignal
  /** Of the file, in hex. Empty if this page may not compute it. */
  sha256: string
  /** An image with these bytes that was there before. */
  known: string
}

/** Which upload of this page a SHA-256 belongs to. */
const digests = new Map<string, number>()

/** Return an upload of the same bytes that this page is sending or has sent. */
function findTwin(id: number, sha256: string): Upload | undefined {
  const other = uploads.peek().find((each) => each.id !== id && each.id === digests.get(sha256))
  if (sha256 && other && ["uploading", "processing", "done"].includes(other.stage)) return other
  digests.set(sha256, id)
  return undefined
}

/** Files one after the other, so that only one is in memory. */
let digesting: Promise<unknown> = Promise.resolve()

async function digest(file: File): Promise<string> {
  if (!globalThis.crypto.subtle) return ""
  const mine = digesting.then(async () => crypto.subtle.digest("SHA-256", await file.arrayBuffer()))
  digesting = mine.catch(() => undefined)
  return Array.from(new Uint8Array(await mine), (each) => each.toString(16).padStart(2, "0")).join("")
}

/** Try again what an outage or a busy service interrupted. */
async function persist<Result>({ id, signal }: Work, attempt: (isFirst: boolean) => Promise<Result>): Promise<Result> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt(tried === 1)
    } catch (error) {
      const { isOutage, message, retrySeconds } = error as api.ApiError
      if (tried === TRIES || !isOutage || signal.aborted) throw error
      change(id, { progress: 0, reason: message })
      await wait(Math.max(retrySeconds, Math.min(2 ** tried, MAX_WAIT_SECONDS)))
    }
  }
}

const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds))

async function post(work: Work): Promise<string> {
  const { file, report, signal } = work
  return persist(work, async (isFirst) => {
    const arrived = isFirst ? "" : await findArrived(work)
    if (arrived) return arrived
    const form = new FormData()
    form.append("renditions", JSON.stringify(api.RENDITIONS))
    form.append("file", file)
    const path = "/api/v1/images/actions/upload"
    const body = await transfer("POST", path, api.authorization(), form, (bytes, all) => report(bytes / all), signal)
    return JSON.parse(body).data.uuid
  })
}

/**
 * Return the image that an interrupted attempt made, or an empty text.
 *
 * One that stays pending may be a row whose bytes never arrived: it is taken back, and the file is sent again.
 */
async function findArrived({ sha256, known, file }: Work): Promise<string> {
  for (let looked = 1; sha256; looked++) {
    const found = await api.findEqual(sha256)
    if (!found || found.uuid === known || found.filename !== file.name) return ""
    if (found.status !== "pending") return found.uuid
    if (looked === 5) return api.deleteImages([found.uuid]).then(() => "")
    await wait(1)
  }
  return ""
}

/** Put a large file into the store in parts. The service never holds it whole. */
async function putParts(work: Work): Promise<string> {
  const { id, file, report, signal } = work
  const before = begun.get(id)
  const plan = before ?? (await persist(work, () => api.beginMultipart(file)))
  begun.set(id, plan)
  const { uuid, partSizeBytes } = plan
  const all = Array.from({ length: plan.partCount }, (_, index) => index + 1)
  const missing = before ? await persist(work, () => api.listMissingParts(uuid)) : all
  let done = file.size - missing.reduce((sum, number) => sum + partOf(file, number, partSizeBytes).size, 0)
  for (const number of missing) {
    if (isPaused.peek()) throw new Paused()
    const part = partOf(file, number, partSizeBytes)
    await persist(work, async () => {
      const url = await api.signPart(uuid, number)
      return transfer("PUT", url, {}, part, (bytes) => report((done + bytes) / file.size), signal)
    })
    done += part.size
  }
  await persist(work, () => api.completeMultipart(uuid))
  begun.delete(id)
  await persist(work, () => api.orderRenditions(uuid)).catch(() => undefined) // the large view offers to order them
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
    failedRenditions: [],
    error: null,
    attempts: 0,
  }
}

export function retry(id: number): void {
  change(id, { stage: "waiting", reason: "", isWanted: uploads.peek().some((each) => each.id === id && each.stage === "duplicate") })
  startNext()
}

addEventListener("online", () => {
  for (const each of uploads.peek()) if (each.stage === "failed") retry(each.id)
})

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
    if (image?.status === "failed") change(id, { stage: "refused", reason: api.describe(image.error) })
  }
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
