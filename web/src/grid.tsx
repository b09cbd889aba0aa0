/** The justified grid. Only the rows near the window are in the document. */

import { computed, signal, useSignalEffect } from "@preact/signals"
import { useEffect, useLayoutEffect, useRef } from "preact/hooks"
import type { Image } from "./api"
import { Icon } from "./icons"
import * as library from "./library"
import { messages } from "./messages"
import { Picture } from "./picture"
import { follow, hrefTo, route } from "./route"
import { beginDrag, endDrag } from "./shelf"

const GAP = 6
/** How much is kept in the document above and below the window, in its heights. */
const MARGIN = 0.75

interface Box {
  left: number
  width: number
}

interface Row {
  top: number
  height: number
  /** Index of its first image. */
  start: number
  boxes: Box[]
}

const width = signal(0)
const view = signal({ top: 0, bottom: 0 })
/** The image that the Tab key leads to. Arrow keys move it. */
const active = signal(0)

const ratioOf = (image: Image) =>
  image.width && image.height ? Math.min(Math.max(image.width / image.height, 0.6), 2.6) : 1

let laidOut: { images: Image[]; width: number; rows: Row[] } = { images: [], width: 0, rows: [] }

/** Rows stay as they are up to the first image of another shape, so that a further page costs what it has. */
const rows = computed<Row[]>(() => {
  const available = width.value
  const images = library.shown.value
  if (!available) return []
  const made = available === laidOut.width ? keepRows(laidOut, images) : []
  const target = available < 600 ? 150 : available < 1200 ? 210 : 250
  const above = made.at(-1)
  let top = above ? above.top + above.height + GAP : 0
  for (let start = above ? above.start + above.boxes.length : 0; start < images.length; ) {
    let ratios = 0
    let end = start
    let height = Infinity
    while (end < images.length && height > target) {
      ratios += ratioOf(images[end++]!)
      height = (available - GAP * (end - start - 1)) / ratios
    }
    height = Math.min(height, target) // the last row need not be full
    const boxes: Box[] = []
    let left = 0
    for (const image of images.slice(start, end)) {
      const wide = ratioOf(image) * height
      boxes.push({ left, width: wide })
      left += wide + GAP
    }
    made.push({ top, height, start, boxes })
    top += height + GAP
    start = end
  }
  laidOut = { images, width: available, rows: made }
  return made
})

/** Return the rows of an earlier layout that a list of images would get again. The last one may not be full. */
function keepRows(before: typeof laidOut, images: Image[]): Row[] {
  let same = 0
  while (same < images.length && same < before.images.length && ratioOf(images[same]!) === ratioOf(before.images[same]!)) same++
  const isKept = (row: Row) => row.start + row.boxes.length <= same
  const kept = before.rows.findIndex((row) => !isKept(row))
  return before.rows.slice(0, kept < 0 ? before.rows.length - 1 : kept)
}

/** Return the index of the first row that is not before something. */
function findRow(isBefore: (row: Row) => boolean): number {
  let low = 0
  let high = rows.value.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (isBefore(rows.value[middle]!)) low = middle + 1
    else high = middle
  }
  return low
}

const rowAt = (top: number) => findRow((row) => row.top + row.height < top)
const firstRow = computed(() => rowAt(view.value.top))
const lastRow = computed(() => rowAt(view.value.bottom))

/** Return the row of an image, or the last one. */
function rowOf(index: number): number {
  const found = findRow((row) => row.start + row.boxes.length <= index)
  return Math.min(found, rows.value.length - 1)
}

/** Return the image that an arrow key leads to. */
function target(key: string, from: number): number {
  const direction = document.dir === "rtl" ? -1 : 1
  if (key === "ArrowRight") return from + direction
  if (key === "ArrowLeft") return from - direction
  if (key === "Home") return 0
  if (key === "End") return library.shown.peek().length - 1
  const current = rowOf(from)
  const row = rows.peek()[current]!
  const other = rows.peek()[current + (key === "ArrowDown" ? 1 : -1)]
  if (!other) return from
  const box = row.boxes[from - row.start]!
  const center = box.left + box.width / 2
  const distances = other.boxes.map((each) => Math.abs(each.left + each.width / 2 - center))
  return other.start + distances.indexOf(Math.min(...distances))
}

export function Grid() {
  const element = useRef<HTMLUListElement>(null)
  const wantsFocus = useRef(false)

  useLayoutEffect(() => {
    const list = element.current!
    const measure = () => {
      const { top } = list.getBoundingClientRect()
      const spare = innerHeight * MARGIN
      const next = { top: -top - spare, bottom: -top + innerHeight + spare }
      if (Math.abs(next.top - view.peek().top) > 40 || Math.abs(next.bottom - view.peek().bottom) > 40) view.value = next
    }
    const resized = new ResizeObserver(() => {
      width.value = list.clientWidth
      measure()
    })
    resized.observe(list)
    addEventListener("scroll", measure, { passive: true })
    addEventListener("resize", measure)
    return () => {
      resized.disconnect()
      removeEventListener("scroll", measure)
      removeEventListener("resize", measure)
    }
  }, [])

  useSignalEffect(() => {
    const last = rows.value.at(-1)
    if (last && view.value.bottom + 600 > last.top) void library.loadMore()
  })

  const images = library.shown.value
  if (active.value >= images.length) active.value = Math.max(images.length - 1, 0)
  const seen = new Set(rows.value.slice(firstRow.value, lastRow.value + 1))
  const held = rows.value[rowOf(active.value)] // focus would be lost if its row left the document
  if (held) seen.add(held)
  const end = rows.value.at(-1)

  useEffect(() => {
    if (!wantsFocus.current) return
    wantsFocus.current = false
    element.current?.querySelector<HTMLElement>('a[tabindex="0"]')?.focus()
  })

  const onKeyDown = (event: KeyboardEvent) => {
    const image = images[active.value]
    if (!image || event.ctrlKey || event.metaKey || event.altKey) return
    if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
      event.preventDefault()
      active.value = Math.min(Math.max(target(event.key, active.value), 0), images.length - 1)
      wantsFocus.current = true
    } else if (event.key === " ") {
      event.preventDefault()
      library.toggle(image.uuid, event)
    } else if (event.key === "Delete") {
      library.remove(library.selected.value.size ? [...library.selected.value] : [image.uuid])
    }
  }

  return (
    <ul
      ref={element}
      class={`grid ${library.selected.value.size ? "selecting" : ""}`}
      aria-label={messages.value.library}
      style={{ height: `${end ? end.top + end.height : 0}px` }}
      onKeyDown={onKeyDown}
    >
      {[...seen]
        .sort((one, other) => one.start - other.start)
        .flatMap((row) =>
          row.boxes.map((box, offset) => {
            const index = row.start + offset
            const image = images[index]!
            return <Tile key={image.uuid} image={image} index={index} top={row.top} height={row.height} {...box} />
          }),
        )}
    </ul>
  )
}

function Tile(props: Box & { image: Image; index: number; top: number; height: number }) {
  const { image, index } = props
  const t = messages.value
  const isSelected = library.selected.value.has(image.uuid)
  const isMade = image.status === "succeeded"
  const status = image.status === "failed" ? t.tile.failed : isMade ? "" : t.tile.pending
  return (
    <li
      class={`tile ${image.status} ${isSelected ? "selected" : ""}`}
      style={{ insetInlineStart: `${props.left}px`, top: `${props.top}px`, width: `${props.width}px`, height: `${props.height}px` }}
      onDragStart={(event) => beginDrag(event, image.uuid)}
      onDragEnd={endDrag}
      aria-setsize={library.total.value}
      aria-posinset={index + 1}
    >
      <a
        href={hrefTo({ ...route.value, image: image.uuid })}
        tabIndex={index === active.value ? 0 : -1}
        data-image={image.uuid}
        onFocus={() => (active.value = index)}
        onClick={(event) => follow(event, { ...route.value, image: image.uuid })}
      >
        <Picture image={image} width={props.width} alt={image.description ?? ""} />
        {image.status === "failed" && <Icon name="failed" />}
        <span class="caption">
          <span class="name">{image.filename}</span>
          {status && <span class="status">{status}</span>}
        </span>
        {!isMade && image.status !== "failed" && <span class="works" />}
      </a>
      <input
        type="checkbox"
        class="select"
        aria-label={t.tile.select(image.filename)}
        tabIndex={index === active.value ? 0 : -1}
        checked={isSelected}
        onFocus={() => (active.value = index)}
        onClick={(event) => library.toggle(image.uuid, event)}
      />
    </li>
  )
}

/** Put the focus back on an image after its large view has closed. */
export function focusOn(uuid: string): void {
  const index = library.shown.peek().findIndex((each) => each.uuid === uuid)
  if (index < 0) return
  active.value = index
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-image="${CSS.escape(uuid)}"]`)?.focus())
}
