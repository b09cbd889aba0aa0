/** Where pictures can be dropped while they are dragged: the collections. */

import { signal } from "@preact/signals"
import { useState } from "preact/hooks"
import { choosing, useCollections } from "./collections"
import { Icon } from "./icons"
import * as library from "./library"
import { messages } from "./messages"
import { notify } from "./toasts"

const dragged = signal<string[]>([])

/** Drag a picture, and with it the others if it is one of the selected. */
export function beginDrag(event: DragEvent, uuid: string): void {
  const selected = library.selected.peek()
  event.dataTransfer!.effectAllowed = "move"
  event.dataTransfer!.setData("text/plain", uuid)
  const uuids = selected.has(uuid) ? [...selected] : [uuid]
  setTimeout(() => (dragged.value = uuids)) // the browser ends a drag whose page changes at its very beginning
}

export function endDrag(): void {
  dragged.value = []
}

export function Shelf() {
  return dragged.value.length ? <Places uuids={dragged.value} /> : null
}

function Places({ uuids }: { uuids: string[] }) {
  const t = messages.value
  const { found, failure, more } = useCollections()
  return (
    <ul class="shelf" aria-label={t.selection.addTo}>
      <Place name={t.album.create} isNew onDrop={() => (choosing.value = uuids)} />
      {found?.map((each) => (
        <Place key={each.uuid} name={each.name} onDrop={() => library.addTo(each, uuids).catch((error: Error) => notify(error.message))} />
      ))}
      {failure && <li>{failure}</li>}
      {more}
    </ul>
  )
}

function Place({ name, isNew = false, onDrop }: { name: string; isNew?: boolean; onDrop: () => void }) {
  const [isOver, setOver] = useState(false)
  return (
    <li
      class={`place ${isOver ? "over" : ""}`}
      onDragEnter={() => setOver(true)}
      onDragLeave={() => setOver(false)}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault()
        endDrag()
        onDrop()
      }}
    >
      <Icon name={isNew ? "add" : "folder"} />
      <span class="name">{name}</span>
    </li>
  )
}
