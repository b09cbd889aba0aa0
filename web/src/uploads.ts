/**
 * The queue of uploads: three at a time, each tried again by itself after an outage.
 *
 * A file that the service already has is not sent: its SHA-256 tells. Browsers compute it on a thread of their own, and
 * only on pages from https or from this machine. Elsewhere every file is sent.
 *
 * Before its bytes go to the store, an upload has the uuid of its image. To try again makes no second image, and to
 * cancel deletes this one.
 */

import { computed, effect, signal } from "@preact/signals"
import * as api from "./api"
import type { Image } from "./api"
import * as library from "./library"

const AT_ONCE = 3
const TRIES = 10
const MAX_WAIT_SECONDS = 15
/** Larger files go in parts. */
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

/** Uploads under way. Aborting one breaks off what it is doing. */
const running = new Map<number, AbortController>()
/** What the service has reserved for an upload. A later attempt goes on with it. */
const reserved = new Map<number, api.SignedUpload | api.MultipartUploadPlan>()
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

interface Work {
  id: number
  file: File
  report: (progress: number) => void
  signal: AbortSignal
}

async function run({ id, file, isWanted }: Upload): Promise<void> {
  const controller = new AbortController()
  const { signal } = controller
  const work: Work = { id, file, report: (progress) => change(id, { progress, reason: "" }), signal }
  running.set(id, controller)
  change(id, { stage: "uploading", progress: 0, reason: "" })
  try {
    const sha256 = await digest(work)
    const equal = reserved.has(id) ? undefined : await findEqual(work, sha256)
    if (equal && !isWanted) return change(id, { stage: "duplicate", ...equal })
    const uuid = await (file.size > MOST_BYTES_AT_ONCE ? putParts(work) : put(work, sha256))
    await persist(work, () => isStored(uuid, signal)).catch(() => undefined) // it is, and the renditions may wait
    const preview = await look(file)
    signal.throwIfAborted()
    reserved.delete(id)
    if (preview) previews.set(uuid, preview)
    change(id, { stage: "processing", progress: 1, uuid, reason: "" })
    library.add(placeholder(uuid, file, preview))
  } catch (error) {
    if (signal.aborted) return void giveBack(id)
    if (error instanceof Paused) return change(id, { stage: "waiting" })
    const { isLasting, message } = error as api.ApiError
    change(id, { stage: isLasting ? "refused" : "failed", reason: message })
    if (isLasting) void giveBack(id)
  } finally {
    running.delete(id)
    startNext()
  }
}

/** Delete what the service has of an upload that is not wanted any more. */
async function giveBack(id: number): Promise<void> {
  const mine = reserved.get(id)
  reserved.delete(id)
  if (mine) await untilDone(() => api.deleteImages([mine.uuid])).catch(() => undefined) // it expires in time
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

/** Find an image with these bytes, or an upload of this page that will be one. */
async function findEqual(work: Work, sha256: string): Promise<{ uuid: string; reason: string } | undefined> {
  if (!sha256) return undefined
  // At once, in the order of the choice: answers of the service come in any order.
  const twin = findTwin(work.id, sha256)
  const image = await persist(work, () => api.findEqual(sha256, work.signal))
  return image ? { uuid: image.uuid, reason: image.filename } : twin && { uuid: twin.uuid, reason: twin.file.name }
}

/** Files one after the other, so that only one is in memory. */
let digesting: Promise<unknown> = Promise.resolve()

/** Return the SHA-256 of a file in hex, or an empty text if this page may not compute it. */
async function digest({ file, signal }: Work): Promise<string> {
  if (!globalThis.crypto.subtle) return ""
  const mine = digesting.then(async () => {
    signal.throwIfAborted()
    return crypto.subtle.digest("SHA-256", await file.arrayBuffer())
  })
  digesting = mine.catch(() => undefined)
  const bytes = new Uint8Array(await mine)
  signal.throwIfAborted()
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("")
}

/** Try again what an outage or a busy service interrupted, and show why it waits. */
function persist<Result>({ id, signal }: Work, attempt: () => Promise<Result>): Promise<Result> {
  return untilDone(attempt, signal, (reason) => change(id, { progress: 0, reason }))
}

async function untilDone<Result>(attempt: () => Promise<Result>, signal?: AbortSignal, report?: (reason: string) => void): Promise<Result> {
  for (let tried = 1; ; tried++) {
    signal?.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      signal?.throwIfAborted()
      const { isOutage, message, retrySeconds } = error as api.ApiError
      if (tried === TRIES || !isOutage) throw error
      report?.(message)
      await wait(Math.max(retrySeconds, Math.min(2 ** tried, MAX_WAIT_SECONDS)), signal)
    }
  }
}

const wait = (seconds: number, signal?: AbortSignal) =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, 1000 * seconds)
    signal?.addEventListener("abort", () => resolve())
  })

/**
 * Put a file into the store under the uuid that the service reserved for it.
 *
 * If an answer was lost, the service is asked for that uuid. So nothing is sent twice, and an equal file of someone else
 * is never mistaken for this one.
 */
function put(work: Work, sha256: string): Promise<string> {
  const { id, file, report, signal } = work
  return persist(work, async () => {
    const before = reserved.get(id) as api.SignedUpload | undefined
    if (before && (await isStored(before.uuid, signal))) return before.uuid
    const isValid = before && Date.parse(before.expiresAt) > Date.now()
    const mine = isValid ? before : await api.reserveUpload(file, sha256) // not broken off: it has to be given back
    reserved.set(id, mine)
    signal.throwIfAborted()
    await transfer(mine.presignedUrl, mine.headers, file, (bytes) => report(bytes / file.size), signal)
    return mine.uuid
  })
}

/** Have an upload's renditions made. Return whether its bytes are there. */
async function isStored(uuid: string, signal: AbortSignal): Promise<boolean> {
  try {
    await api.orderRenditions(uuid, api.RENDITIONS, signal)
  } catch (error) {
    const { status, isLasting } = error as api.ApiError
    if (status === 404) return false
    if (!isLasting) throw error // else only the renditions are refused, and the large view offers them again
  }
  return true
}

/** Put a large file into the store in parts. An interruption costs no more than a part. */
async function putParts(work: Work): Promise<string> {
  const { id, file, report, signal } = work
  const before = reserved.get(id) as api.MultipartUploadPlan | undefined
  if (before && (await persist(work, () => isStored(before.uuid, signal)))) return before.uuid
  const plan = before ?? (await persist(work, () => api.beginMultipart(file)))
  reserved.set(id, plan)
  const { uuid, partSizeBytes } = plan
  const all = Array.from({ length: plan.partCount }, (_, index) => index + 1)
  const missing = before ? await persist(work, () => api.listMissingParts(uuid, signal)) : all
  let done = file.size - missing.reduce((sum, number) => sum + partOf(file, number, partSizeBytes).size, 0)
  for (const number of missing) {
    if (isPaused.peek()) throw new Paused()
    const part = partOf(file, number, partSizeBytes)
    await persist(work, async () => {
      const url = await api.signPart(uuid, number, signal)
      return transfer(url, {}, part, (bytes) => report((done + bytes) / file.size), signal)
    })
    done += part.size
  }
  await persist(work, () => api.completeMultipart(uuid, signal))
  return uuid
}

const partOf = (file: File, number: number, size: number) => file.slice((number - 1) * size, number * size)

/** What the store answers to a PUT under a key that has its file already. */
const IS_THERE = 412

/** Put bytes into the store. fetch() tells nothing of the progress, so this is an XMLHttpRequest. */
function transfer(url: string, headers: Record<string, string>, body: Blob, report: (bytes: number) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const fail = () => reject(api.toError(request.status, request.responseText, request.getResponseHeader("Retry-After")))
    request.open("PUT", url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = (event) => report(event.loaded)
    request.onload = () => (request.status === 200 || request.status === IS_THERE ? resolve() : fail())
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

/** Take an upload out of the list. One that is under way is broken off, and gives back what it had reserved. */
export function dismiss(id: number): void {
  uploads.value = uploads.peek().filter((each) => each.id !== id)
  const controller = running.get(id)
  if (controller) controller.abort()
  else void giveBack(id)
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
