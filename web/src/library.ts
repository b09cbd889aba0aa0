/** The list of images that the page shows, and what happens to them. */

import { batch, computed, effect, signal } from "@preact/signals"
import * as api from "./api"
import type { Image } from "./api"
import { messages } from "./messages"
import { route } from "./route"
import { notify } from "./toasts"

const STATUSES = { ready: "succeeded,pending,processing", working: "pending,processing", failed: "failed" }
const UNDO_MILLISECONDS = 8000

export const images = signal<Image[]>([])
export const total = signal(0)
export const isExact = signal(true)
export const isLoading = signal(false)
export const failure = signal("")
export const selected = signal<ReadonlySet<string>>(new Set())

const hidden = signal<ReadonlySet<string>>(new Set())
/** Images without those whose deletion can still be undone. */
export const shown = computed(() => {
  const gone = hidden.value
  return gone.size ? images.value.filter((each) => !gone.has(each.uuid)) : images.value
})

/** How many there are in all, without those whose deletion can still be undone. */
export const count = computed(() => total.value - (images.value.length - shown.value.length))

let next: string | null = null
let running: AbortController | null = null

const query = computed(() => {
  const { view, search, filter, sort, collection } = route.value
  return view === "library" ? JSON.stringify({ collection, search, sort, statuses: STATUSES[filter] }) : ""
})

effect(() => {
  void api.credential.value
  if (query.value) void reload()
})

export async function reload(): Promise<void> {
  batch(() => {
    images.value = []
    selected.value = new Set()
    total.value = 0
  })
  await load(null)
}

export async function loadMore(): Promise<void> {
  if (next && !isLoading.peek() && !failure.peek()) await load(next)
}

/** Go on where the last attempt failed. */
export async function tryAgain(): Promise<void> {
  await load(images.peek().length ? next : null)
}

async function load(after: string | null): Promise<void> {
  running?.abort()
  const mine = (running = new AbortController())
  batch(() => {
    isLoading.value = true
    failure.value = ""
  })
  try {
    const page = await api.listImages({ ...JSON.parse(query.peek()), after }, mine.signal)
    const known = new Set(images.peek().map((each) => each.uuid))
    batch(() => {
      images.value = [...images.peek(), ...page.items.filter((each) => !known.has(each.uuid))]
      total.value = page.total
      isExact.value = page.isExact
      isLoading.value = false
    })
    next = page.next
  } catch (error) {
    if (mine.signal.aborted) return
    batch(() => {
      isLoading.value = false
      failure.value = (error as Error).message
    })
  }
}

/** Show an image that this page has just uploaded, if the list is one that has it. */
export function add(image: Image): void {
  const { view, search, filter, sort, collection } = route.peek()
  if (view !== "library" || search || collection || filter === "failed" || sort === "oldest") return
  if (images.peek().some((each) => each.uuid === image.uuid)) return
  images.value = [image, ...images.peek()]
  total.value++
}

/** Replace images by what the service says of them now. */
export function update(changed: Image[]): void {
  const byUuid = new Map(changed.map((each) => [each.uuid, each]))
  if (!images.peek().some((each) => byUuid.has(each.uuid))) return
  const { collection, filter } = route.peek()
  const belongs = (each: Image) => Boolean(collection) || STATUSES[filter].includes(each.status)
  const before = images.peek()
  const after = before
    .map((each) => byUuid.get(each.uuid) ?? each)
    .filter(belongs)
  batch(() => {
    images.value = after
    total.value -= before.length - after.length
  })
}

export function forget(uuids: Iterable<string>): void {
  const gone = new Set(uuids)
  const left = images.peek().filter((each) => !gone.has(each.uuid))
  batch(() => {
    total.value -= images.peek().length - left.length
    images.value = left
    selected.value = new Set([...selected.peek()].filter((each) => !gone.has(each)))
  })
}

/** The image that was selected last, from which a range begins. */
let anchor = ""

/** Select an image, or no longer. With Shift, select all from the last one to this one. */
export function toggle(uuid: string, { shiftKey }: { shiftKey: boolean }): void {
  const changed = new Set(selected.peek())
  const uuids = shown.peek().map((each) => each.uuid)
  const [from, to] = [uuids.indexOf(anchor), uuids.indexOf(uuid)]
  if (shiftKey && changed.has(anchor) && from >= 0)
    for (const each of uuids.slice(Math.min(from, to), Math.max(from, to) + 1)) changed.add(each)
  else if (!changed.delete(uuid)) changed.add(uuid)
  anchor = uuid
  selected.value = changed
}

/** Select all images that the list has so far. */
export function selectAll(): void {
  selected.value = new Set(shown.peek().map((each) => each.uuid))
}

const deletions = new Map<string, () => void>()

/** Hide images, and delete them unless the user changes their mind within some seconds, or leaves the page. */
export function remove(uuids: string[]): void {
  const mine = new Set(uuids)
  hidden.value = new Set([...hidden.peek(), ...mine])
  selected.value = new Set()
  const reveal = () => (hidden.value = new Set([...hidden.peek()].filter((each) => !mine.has(each))))
  const carryOut = async () => {
    for (const uuid of uuids) deletions.delete(uuid)
    try {
      for (const part of api.inParts(uuids)) {
        await api.deleteImages(part)
        forget(part)
      }
    } catch (error) {
      notify((error as Error).message)
    }
    reveal()
  }
  const toast = notify(messages.peek().deleted(uuids.length), {
    milliseconds: UNDO_MILLISECONDS,
    label: messages.peek().undo,
    act: () => {
      for (const uuid of uuids) deletions.delete(uuid)
      reveal()
    },
    expire: () => void carryOut(),
  })
  for (const uuid of uuids) deletions.set(uuid, toast)
}

addEventListener("pagehide", () => {
  for (const part of api.inParts([...deletions.keys()])) void api.deleteImages(part, { keepalive: true })
  deletions.clear()
})

export async function addTo(collection: api.Collection, uuids: string[]): Promise<void> {
  const mine = new Set<string>()
  for (const part of api.inParts(uuids)) for (const uuid of await api.moveImages(part, collection.uuid)) mine.add(uuid)
  batch(() => {
    if (route.peek().collection && route.peek().collection !== collection.uuid) forget(mine)
    else images.value = images.peek().map((each) => (mine.has(each.uuid) ? { ...each, collectionId: collection.uuid } : each))
    selected.value = new Set()
  })
  notify(messages.peek().added(mine.size, collection.name))
}

export async function takeOut(collection: string, uuids: string[]): Promise<void> {
  for (const part of api.inParts(uuids)) await api.takeOut(collection, part)
  forget(uuids)
  notify(messages.peek().takenOut(uuids.length))
}

/** Have larger versions made of images that have none. */
export async function order(uuids: string[]): Promise<void> {
  await inTurn(uuids, (uuid) => api.orderRenditions(uuid))
  notify(messages.peek().ordered(uuids.length))
}

/** Try failed images again. */
export async function retry(uuids: string[]): Promise<void> {
  await inTurn(uuids, api.retryImage)
  notify(messages.peek().retried(uuids.length))
}

/** Ask for something to be made of each image. From now on the page watches them. */
async function inTurn(uuids: string[], ask: (uuid: string) => Promise<void>): Promise<void> {
  for (const uuid of uuids) await ask(uuid)
  for (const part of api.inParts(uuids)) update(await api.listByName(part))
  selected.value = new Set()
}
