/** An image's name and description, which can be changed where they stand. */

import { useLayoutEffect, useRef, useState } from "preact/hooks"
import type { ComponentChildren } from "preact"
import * as api from "./api"
import type { Image } from "./api"
import { IconButton } from "./icons"
import * as library from "./library"
import { messages } from "./messages"
import { Refusal } from "./notices"
import { notify } from "./toasts"
import { watched } from "./watch"

export function Heading({ image, children }: { image: Image; /** Stand between both. */ children: ComponentChildren }) {
  const t = messages.value.viewer
  const [isEditing, setEditing] = useState(false)
  const header = useRef<HTMLElement>(null)
  const wasEditing = useRef(false)
  useLayoutEffect(() => {
    if (isEditing) header.current?.querySelector("input")?.select()
    else if (wasEditing.current) header.current?.querySelector("button")?.focus()
    wasEditing.current = isEditing
  }, [isEditing])
  return (
    <header ref={header}>
      {isEditing ? (
        <Editor image={image} onEnd={() => setEditing(false)} />
      ) : (
        <>
          <div class="title">
            <h2>{image.filename}</h2>
            <IconButton name="edit" label={t.edit} onClick={() => setEditing(true)} />
          </div>
          {children}
          {image.description && <p>{image.description}</p>}
        </>
      )}
    </header>
  )
}

function Editor({ image, onEnd }: { image: Image; onEnd: () => void }) {
  const t = messages.value
  const [failure, setFailure] = useState("")
  const save = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const description = `${form.get("description")}`.trim()
    try {
      const changed = await api.changeImage(image.uuid, { filename: `${form.get("filename")}`.trim(), description: description || null })
      if (watched.peek()?.uuid === changed.uuid) watched.value = changed
      library.update([changed])
      notify(t.viewer.saved, { milliseconds: 2000 })
      onEnd()
    } catch (error) {
      setFailure((error as Error).message)
    }
  }
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation() // the viewer's keys are for moving in a text meanwhile
    if (event.key !== "Escape") return
    event.preventDefault()
    onEnd()
  }
  return (
    <form class="form" onSubmit={save} onKeyDown={onKeyDown}>
      <label>
        {t.viewer.filename}
        <input name="filename" defaultValue={image.filename} required maxLength={255} autocomplete="off" />
      </label>
      <label>
        {t.album.description}
        <textarea name="description" defaultValue={image.description ?? ""} maxLength={10_000} rows={3} />
      </label>
      <Refusal text={failure} />
      <div class="actions">
        <button type="submit" class="button primary">
          {t.viewer.keep}
        </button>
        <button type="button" class="button" onClick={onEnd}>
          {t.cancel}
        </button>
      </div>
    </form>
  )
}
