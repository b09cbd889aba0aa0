/** What works anywhere on the page: dropping and pasting files, and shortcuts. */

import { signal } from "@preact/signals"
import * as library from "./library"
import { route } from "./route"
import { enqueue, readDrop } from "./uploads"

export const isDragging = signal(false)

let depth = 0 // dragenter and dragleave also come from every element inside
const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false

addEventListener("dragenter", (event) => {
  if (hasFiles(event) && ++depth) isDragging.value = true
})

addEventListener("dragleave", (event) => {
  if (hasFiles(event) && --depth <= 0) isDragging.value = false
})

addEventListener("dragover", (event) => {
  if (hasFiles(event)) event.preventDefault()
})

addEventListener("drop", (event) => {
  depth = 0
  isDragging.value = false
  if (!event.dataTransfer || !hasFiles(event)) return
  event.preventDefault()
  void readDrop(event.dataTransfer).then(enqueue)
})

addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])]
  if (files.length) enqueue(files)
})

addEventListener("keydown", (event) => {
  const isTyping =
    event.target instanceof Element && event.target.closest("input:not([type=checkbox]), textarea, select")
  if (isTyping || event.altKey || document.querySelector("dialog[open]")) return
  if (event.ctrlKey || event.metaKey) {
    if (event.key !== "a" || route.peek().view !== "library") return
    event.preventDefault()
    library.selectAll()
  } else if (event.key === "/") {
    event.preventDefault()
    document.querySelector<HTMLInputElement>(".search input")?.focus()
  } else if (event.key === "Escape") library.selected.value = new Set()
})
