/**
 * Ask what has become of images in the works, for as long as there are any.
 *
 * A stream of events would hold a thread of the service for each open page, and keep a pod up that could scale to zero.
 * These requests are one look into an index, and none are sent while nothing is in the works or nobody looks.
 */

import { computed, effect, signal } from "@preact/signals"
import * as api from "./api"
import type { Image } from "./api"
import * as library from "./library"
import { settle, uploads } from "./uploads"

const isInTheWorks = (each: Image) =>
  each.status === "pending" || each.status === "processing" || each.pendingRenditions.length > 0

/** Images that the viewer shows and the list may not have. */
export const watched = signal<Image | null>(null)

const awaited = computed(() => {
  const uuids = library.images.value.filter(isInTheWorks).map((each) => each.uuid)
  for (const each of uploads.value) if (each.stage === "processing") uuids.push(each.uuid)
  if (watched.value && isInTheWorks(watched.value)) uuids.push(watched.value.uuid)
  return new Set(uuids)
})

let timer = 0
let asked = 0

/** Images that are asked for at once. The oldest ones are ready first, and then others follow. */
const MOST = 300

async function look(): Promise<void> {
  try {
    const wanted = [...awaited.peek()].slice(-MOST)
    const news: Image[] = []
    for (const part of api.inParts(wanted)) news.push(...(await api.listByName(part)))
    library.update(news)
    settle(news)
    const there = new Set(news.map((each) => each.uuid))
    library.forget(wanted.filter((uuid) => !there.has(uuid)))
    const current = watched.peek() && news.find((each) => each.uuid === watched.peek()?.uuid)
    if (current) watched.value = current
  } catch {
    // An outage. The next look may see more.
  }
}

/** Every second at first, then less often: 1, 2 and at last 5 seconds apart. */
function schedule(): void {
  clearTimeout(timer)
  const seconds = asked < 15 ? 1 : asked < 30 ? 2 : 5
  timer = window.setTimeout(async () => {
    if (document.visibilityState === "visible") {
      asked++
      await look()
    }
    if (awaited.peek().size) schedule()
    else timer = 0
  }, seconds * 1000)
}

let known = 0
effect(() => {
  const count = awaited.value.size
  if (count > known) {
    asked = 0
    schedule()
  }
  known = count
})
