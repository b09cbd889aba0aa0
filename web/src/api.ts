/** The service's API, as far as the gallery uses it. */

import { signal } from "@preact/signals"
import { messages } from "./messages"

export type Status = "pending" | "processing" | "succeeded" | "failed"

export interface Rendition {
  name: string
  url: string
  contentType: string
  width: number
  height: number
  sizeBytes: number
}

export interface Failure {
  code: string
  message: string
}

export interface FailedRendition {
  name: string
  error: Failure
}

export interface PaletteColor {
  color: string
  share: number
}

export interface ImageMetadata {
  capturedAt: string | null
  cameraMake: string | null
  cameraModel: string | null
  lensModel: string | null
  colorSpace: string
  profile: string | null
  bitDepth: number
  /** Of an animation. */
  frames: number
  palette: PaletteColor[]
  thumbHash: string
  blurHash: string
  perceptualHash: string | null
}

export interface Image {
  uuid: string
  filename: string
  description: string | null
  status: Status
  createdAt: string
  collectionId: string | null
  contentType: string | null
  sizeBytes: number | null
  width: number | null
  height: number | null
  sha256: string | null
  metadata: ImageMetadata | null
  renditions: Rendition[]
  pendingRenditions: string[]
  failedRenditions: FailedRendition[]
  error: Failure | null
  attempts: number
}

export interface Collection {
  uuid: string
  name: string
  description: string | null
  imageCount: number
}

export interface Page<Item> {
  items: Item[]
  total: number
  isExact: boolean
  /** Where the next page begins. Null on the last one. */
  next: string | null
}

interface Pagination {
  totalItems: number
  totalItemsRelation: "eq" | "gte"
  nextCursor: string | null
}

function toPage<Item>(items: Item[], { totalItems, totalItemsRelation, nextCursor }: Pagination): Page<Item> {
  return { items, total: totalItems, isExact: totalItemsRelation === "eq", next: nextCursor }
}

/** What the gallery asks for besides the thumbnail: two for the grid, by the screen's pixels, and one to look at. */
const side = (name: string, pixels: number) => ({
  name,
  operations: [{ kind: "resize", width: pixels, height: pixels, fit: "inside", enlarge: false }],
  output: { format: "auto" },
})
export const RENDITIONS = [side("small", 400), side("medium", 800), side("large", 1600)]

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    sentence: string,
    readonly retrySeconds = 0,
    /** What was wrong with the request, if the service names it. */
    readonly parameter = "",
  ) {
    super(messages.value.codes[code] ?? sentence)
  }

  /** Whether the same may succeed a little later: the service is out of reach, or busy. */
  get isOutage(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502
  }

  /** Whether the same would be refused again. */
  get isLasting(): boolean {
    return this.status >= 400 && this.status < 500 && this.status !== 401 && this.status !== 429
  }
}

/** Say in the page's language why an image or a rendition failed. */
export function describe(failure: Failure | null): string {
  return failure ? (messages.value.codes[failure.code] ?? failure.message) : ""
}

/** An API key or a bearer token, for this tab only. Empty where the service asks for none. */
export const credential = signal(sessionStorage.getItem("credential") ?? "")
export const isSignInNeeded = signal(false)

export function signIn(text: string): void {
  sessionStorage.setItem("credential", text)
  credential.value = text
  isSignInNeeded.value = false
}

export function signOut(): void {
  sessionStorage.removeItem("credential")
  credential.value = ""
  location.assign("/")
}

export function authorization(): Record<string, string> {
  if (!credential.value) return {}
  return credential.value.startsWith("imgp_")
    ? { "X-API-Key": credential.value }
    : { Authorization: `Bearer ${credential.value}` }
}

/** Make the error of a response that is not a success. A 401 also makes the page ask for a key. */
export function toError(status: number, body: string, retryAfter: string | null): ApiError {
  if (status === 401) isSignInNeeded.value = true
  const fallback = status ? messages.value.errors.status(status) : messages.value.errors.offline
  let sentence = fallback
  let code = ""
  let parameter = ""
  try {
    const parsed = JSON.parse(body)
    const first = parsed.errors?.[0] ?? parsed
    sentence = first.detail ?? first.title ?? first.error ?? fallback
    code = first.code ?? ""
    parameter = first.details?.[0]?.parameter ?? ""
  } catch {
    // A gateway's page says nothing that helps.
  }
  return new ApiError(status, code, sentence, Number(retryAfter) || 0, parameter)
}

export async function send(method: string, path: string, body?: unknown, options: RequestInit = {}): Promise<Response> {
  const headers = { ...authorization(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) }
  let response: Response
  try {
    response = await fetch(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...options,
    })
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error
    throw toError(0, "", null)
  }
  if (!response.ok) throw toError(response.status, await response.text(), response.headers.get("Retry-After"))
  return response
}

async function get<Found>(path: string, signal?: AbortSignal): Promise<Found> {
  return (await send("GET", `/api/v1${path}`, undefined, signal ? { signal } : {})).json()
}

export interface ListQuery {
  collection: string
  search: string
  statuses: string
  sort?: "newest" | "oldest"
  after: string | null
  limit?: number
}

export async function listImages(query: ListQuery, signal?: AbortSignal): Promise<Page<Image>> {
  const search = new URLSearchParams({ limit: `${query.limit ?? 100}` })
  if (query.search) search.set("search", query.search)
  if (query.after) search.set("after", query.after)
  if (query.collection) {
    const { data } = await get<{ data: { images: Image[]; pagination: Pagination } }>(`/collections/${query.collection}?${search}`, signal)
    return toPage(data.images.map(forList), data.pagination)
  }
  if (query.sort === "oldest") search.set("sort", "asc")
  search.set("status", query.statuses)
  search.set("include", "none")
  const response = await send("GET", `/api/v1/images?${search}`, undefined, signal ? { signal } : {})
  return {
    items: (await response.json()).map(forList),
    total: Number(response.headers.get("X-Total-Count")),
    isExact: response.headers.get("X-Total-Count-Relation") !== "gte",
    next: response.headers.get("X-Next-Cursor"),
  }
}

/** Return the newest image with these bytes that has not failed. */
export async function findEqual(sha256: string, signal: AbortSignal): Promise<Image | undefined> {
  const query = new URLSearchParams({ include: "none", status: "succeeded,processing,pending", sha256 })
  return (await get<Image[]>(`/images?${query}`, signal))[0]
}

/** Keep what a list shows of an image. With all that is known of it, a list of 100,000 would cost much memory. */
function forList(image: Image): Image {
  const { uuid, filename, description, status, createdAt, collectionId, contentType, sizeBytes, width, height } = image
  const { pendingRenditions, failedRenditions, error, attempts } = image
  const renditions = image.renditions.map(({ name, url, contentType, width, height, sizeBytes }) => ({ name, url, contentType, width, height, sizeBytes }))
  const metadata = image.metadata && { ...UNKNOWN, thumbHash: image.metadata.thumbHash }
  return { uuid, filename, description, status, createdAt, collectionId, contentType, sizeBytes, width, height, sha256: null, metadata, renditions, pendingRenditions, failedRenditions, error, attempts }
}

const UNKNOWN = {
  ...{ capturedAt: null, cameraMake: null, cameraModel: null, lensModel: null, palette: [] },
  ...{ colorSpace: "", profile: null, bitDepth: 8, frames: 1, blurHash: "", perceptualHash: null },
}

/** Single images come with their thumbnail inside. */
function withoutBytes({ imageData: _, ...image }: Image & { imageData?: string }): Image {
  return image
}

export async function getImage(uuid: string, signal?: AbortSignal): Promise<Image> {
  return withoutBytes(await get(`/images/${uuid}`, signal))
}

/** What the service takes in one request about many images. */
const MOST_AT_ONCE = 100

/** Split a list into parts that the service takes in one request. */
export function* inParts<Item>(all: Item[]): Generator<Item[]> {
  for (let start = 0; start < all.length; start += MOST_AT_ONCE) yield all.slice(start, start + MOST_AT_ONCE)
}

/** Ask what became of images. Those that are gone are left out. */
export function listByName(uuids: string[]): Promise<Image[]> {
  return get(`/images?include=none&uuids=${uuids.join()}`)
}

/** Delete images. One that is gone already is as wanted. */
export async function deleteImages(uuids: string[], options: RequestInit = {}): Promise<void> {
  await send("POST", "/api/v1/images/actions/delete", { uuids }, options)
}

/** Move images into a collection. Return those that there are. */
export async function moveImages(uuids: string[], collectionId: string): Promise<string[]> {
  return (await (await send("POST", "/api/v1/images/actions/move", { uuids, collectionId })).json()).done
}

/** Take images out of a collection. Those that are in another one by now stay there. */
export async function takeOut(collection: string, uuids: string[]): Promise<void> {
  const data = uuids.map((uuid) => ({ type: "images", uuid }))
  await send("DELETE", `/api/v1/collections/${collection}/relationships/images`, { data })
}

/** Change what is given, and nothing else. An empty description is removed. */
export async function changeImage(uuid: string, changes: { filename?: string; description?: string | null }): Promise<Image> {
  return withoutBytes(await (await send("PATCH", `/api/v1/images/${uuid}`, changes)).json())
}

export interface Attempt {
  number: number
  startedAt: string
  endedAt: string | null
  outcome: string | null
  reason: string | null
}

export async function listAttempts(uuid: string, signal: AbortSignal): Promise<Attempt[]> {
  return (await get<{ data: Attempt[] }>(`/images/${uuid}/attempts`, signal)).data
}

export async function orderRenditions(uuid: string, renditions: object[] = RENDITIONS, signal?: AbortSignal): Promise<void> {
  await send("POST", "/api/v1/images/actions/process", { uuid, renditions }, signal ? { signal } : {})
}

/** Make a preset, or a new version of it. */
export async function savePreset(recipe: { name: string }): Promise<void> {
  await send("POST", "/api/v1/presets", { recipe })
}

/** Seconds for which the addresses are valid that this page shows pictures by, and hands out to nobody. */
const SHOWN_SECONDS = 3600

/** Those addresses, each for as long as it is valid for half of that: the browser then has their pictures. */
const signed = new Map<string, string>()
/** The credential that may not sign, once it was refused. Pictures are then shown as far as they are made. */
let unable = ""

/** Return a signed URL of a path as `/i/` has it: options, a slash, the uuid and perhaps a format. */
export async function signUrl(uuid: string, path: string, signal: AbortSignal): Promise<string> {
  const before = signed.get(path)
  if (before) return before
  if (unable && unable === credential.peek()) throw new ApiError(403, "permission_missing", "")
  const [options, file] = path.split("/") as [string, string]
  const format = file.split(".")[1]
  const { url } = await sign(uuid, { options, ...(format ? { format } : {}), expiresIn: SHOWN_SECONDS }, signal).catch((error: ApiError) => {
    if (error.code === "permission_missing") unable = credential.peek()
    throw error
  })
  signed.set(path, url)
  setTimeout(() => signed.delete(path), (SHOWN_SECONDS / 2) * 1000)
  return url
}

interface Order {
  options?: string
  capability?: { widths: readonly number[]; formats: readonly string[] }
  format?: string
  expiresIn: number
}

export interface SignedUrl {
  url: string
  /** Takes the place of the signature in every URL that a capability allows. */
  token: string | null
}

export async function sign(uuid: string, order: Order, signal: AbortSignal): Promise<SignedUrl> {
  return (await send("POST", `/api/v1/images/${uuid}/actions/sign`, order, { signal })).json()
}

export async function retryImage(uuid: string): Promise<void> {
  await send("POST", "/api/v1/images/actions/process", { uuid })
}

/** Describe a file to the service, as each kind of reservation wants it. */
function announce(file: File): { filename: string; extension: string; sizeBytes: number } {
  if (!file.size) throw new ApiError(400, "empty_file", "")
  const [, type = ""] = file.type.split(/[/+]/)
  const extension = /\.([^.]+)$/.exec(file.name)?.[1] ?? type
  return { filename: file.name, extension: extension.toLowerCase(), sizeBytes: file.size }
}

/** Ask for a place for a file. The service says which extensions it takes. */
async function reserve<Reserved>(path: string, file: File, more: object = {}): Promise<Reserved> {
  try {
    return await (await send("POST", `/api/v1/images/actions/${path}`, { ...announce(file), ...more })).json()
  } catch (error) {
    if (error instanceof ApiError && error.parameter === "extension") throw new ApiError(415, "extension_not_allowed", error.message)
    throw error
  }
}

/** An image that awaits its file, and where to PUT it. */
export interface SignedUpload {
  uuid: string
  presignedUrl: string
  expiresAt: string
  headers: Record<string, string>
}

export function reserveUpload(file: File, sha256: string): Promise<SignedUpload> {
  return reserve("upload-url", file, sha256 ? { sha256 } : {})
}

export interface MultipartUploadPlan {
  uuid: string
  partSizeBytes: number
  partCount: number
}

export function beginMultipart(file: File): Promise<MultipartUploadPlan> {
  return reserve("multipart-upload", file)
}

export async function signPart(uuid: string, number: number, signal: AbortSignal): Promise<string> {
  const path = `/api/v1/images/${uuid}/multipart-upload/parts`
  return (await (await send("POST", path, { partNumbers: [number] }, { signal })).json()).parts[0].presignedUrl
}

export async function listMissingParts(uuid: string, signal: AbortSignal): Promise<number[]> {
  return (await get<{ missingParts: number[] }>(`/images/${uuid}/multipart-upload`, signal)).missingParts
}

export async function completeMultipart(uuid: string, signal: AbortSignal): Promise<void> {
  await send("POST", `/api/v1/images/${uuid}/multipart-upload/complete`, undefined, { signal })
}

export function listSimilar(uuid: string, signal: AbortSignal): Promise<Image[]> {
  return get(`/images/${uuid}/similar?distance=11&limit=8`, signal)
}

/** Return a page of the collections whose name has a text, newest first. */
export async function listCollections({ search, after }: { search: string; after: string | null }, signal: AbortSignal): Promise<Page<Collection>> {
  const query = new URLSearchParams({ limit: "100", ...(search && { search }), ...(after && { after }) })
  const { data, meta } = await get<{ data: Collection[]; meta: { pagination: Pagination } }>(`/collections?${query}`, signal)
  return toPage(data, meta.pagination)
}

export async function getCollection(uuid: string, signal: AbortSignal): Promise<Collection> {
  return (await get<{ data: Collection }>(`/collections/${uuid}?limit=1`, signal)).data
}

export interface CollectionText {
  name: string
  description: string | null
}

export async function createCollection(text: CollectionText): Promise<Collection> {
  return (await (await send("POST", "/api/v1/collections", text)).json()).data
}

export async function changeCollection(uuid: string, text: CollectionText): Promise<Collection> {
  return (await (await send("PATCH", `/api/v1/collections/${uuid}`, text)).json()).data
}

/** Delete a collection. Its images stay, in none. */
export async function deleteCollection(uuid: string): Promise<void> {
  const query = { collection: uuid, search: "", statuses: "", after: null }
  for (;;) {
    const { items } = await listImages(query)
    if (!items.length) break
    await takeOut(uuid, items.map((each) => each.uuid))
  }
  await send("DELETE", `/api/v1/collections/${uuid}`)
}
