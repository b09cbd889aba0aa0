/** Collections: all of them, a form for a new one, and the choice of one for selected images. */

import { signal } from "@preact/signals"
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import type { ComponentChildren } from "preact"
import * as api from "./api"
import type { Collection, Image } from "./api"
import { Icon, IconButton } from "./icons"
import * as library from "./library"
import { messages } from "./messages"
import { Notice, Refusal } from "./notices"
import { Picture } from "./picture"
import { follow, hrefTo } from "./route"

/** Images for which a collection is being chosen. */
export const choosing = signal<string[]>([])

/** A dialog that Escape, its button and its work close. The focus goes back to where it was. */
export function Modal({ title, onClose, children }: { title: string; onClose?: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const before = document.activeElement
    dialog.current?.showModal()
    return () => {
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation() // the page's shortcuts rest meanwhile
    if (event.key === "Escape") onClose?.()
  }
  return (
    <dialog ref={dialog} class="modal" aria-label={title} onKeyDown={onKeyDown} onCancel={(event) => event.preventDefault()}>
      <header>
        <h2>{title}</h2>
        {onClose && <IconButton name="close" label={messages.value.close} onClick={onClose} />}
      </header>
      {children}
    </dialog>
  )
}

export function CollectionForm({ onCreated }: { onCreated: (made: Collection) => void }) {
  const t = messages.value
  const [failure, setFailure] = useState("")
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    try {
      onCreated(await api.createCollection(`${form.get("name")}`.trim(), `${form.get("description") ?? ""}`.trim()))
    } catch (error) {
      setFailure((error as Error).message)
    }
  }
  return (
    <form class="form" onSubmit={submit}>
      <label>
        {t.album.name}
        <input name="name" required minLength={2} maxLength={255} autocomplete="off" />
      </label>
      <label>
        {t.album.description}
        <textarea name="description" maxLength={10_000} rows={2} />
      </label>
      <Refusal text={failure} />
      <button type="submit" class="button primary">
        {t.album.save}
      </button>
    </form>
  )
}

export function CollectionChooser() {
  const t = messages.value
  const uuids = choosing.value
  const [failure, setFailure] = useState("")
  useEffect(() => {
    library.refreshCollections().catch((error: Error) => setFailure(error.message))
  }, [])
  const close = () => (choosing.value = [])
  const choose = (chosen: Collection) =>
    library.addTo(chosen, uuids).then(close, (error: Error) => setFailure(error.message))
  return (
    <Modal title={t.album.choose} onClose={close}>
      <p class="quiet">{t.album.moves}</p>
      <Refusal text={failure} />
      {library.collections.value.length > 0 && (
        <ul class="choices">
          {library.collections.value.map((each) => (
            <li key={each.uuid}>
              <button type="button" onClick={() => void choose(each)}>
                <Icon name="folder" />
                <span class="name">{each.name}</span>
                <span class="quiet">{t.album.images(each.imageCount)}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
      <h3>{t.album.create}</h3>
      <CollectionForm onCreated={(made) => void choose(made)} />
    </Modal>
  )
}

export function CollectionsPage() {
  const t = messages.value
  const [failure, setFailure] = useState("")
  const [isLoaded, setLoaded] = useState(false)
  const [isCreating, setCreating] = useState(false)
  const load = () => {
    setFailure("")
    library.refreshCollections().then(
      () => setLoaded(true),
      (error: Error) => setFailure(error.message),
    )
  }
  useEffect(load, [api.credential.value])
  const found = library.collections.value
  return (
    <>
      <div class="bar">
        <h1>{t.collections}</h1>
        <button type="button" class="button" onClick={() => setCreating(true)}>
          <Icon name="add" />
          {t.album.create}
        </button>
      </div>
      {failure && <Notice text={failure} retry={load} />}
      {isLoaded && !found.length && (
        <div class="empty">
          <Icon name="folder" />
          <h2>{t.album.none}</h2>
          <p>{t.album.noneHint}</p>
        </div>
      )}
      <ul class="albums">
        {found.map((each) => (
          <li key={each.uuid}>
            <Album collection={each} />
          </li>
        ))}
      </ul>
      {isCreating && (
        <Modal title={t.album.create} onClose={() => setCreating(false)}>
          <CollectionForm
            onCreated={() => {
              setCreating(false)
              load()
            }}
          />
        </Modal>
      )}
    </>
  )
}

function Album({ collection }: { collection: Collection }) {
  const [covers, setCovers] = useState<Image[]>([])
  useEffect(() => {
    if (!collection.imageCount) return
    const query = { collection: collection.uuid, search: "", statuses: "", after: null, limit: 4 }
    api.listImages(query).then(
      ({ items }) => setCovers(items),
      () => undefined, // an album without a cover is still of use
    )
  }, [collection.uuid, collection.imageCount])
  return (
    <a class="album" href={hrefTo({ collection: collection.uuid })} onClick={(event) => follow(event, { collection: collection.uuid })}>
      <span class={`covers of-${covers.length}`}>
        {covers.length ? covers.map((each) => <Picture key={each.uuid} image={each} width={160} alt="" />) : <Icon name="image" />}
      </span>
      <span class="name">{collection.name}</span>
      <span class="quiet">{messages.value.album.images(collection.imageCount)}</span>
    </a>
  )
}
