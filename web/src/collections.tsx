/** Collections: all of them, one of them, and the choice of one for selected images. */

import { signal } from "@preact/signals"
import { useEffect, useState } from "preact/hooks"
import { useAnswer } from "./answers"
import * as api from "./api"
import type { Collection, Image } from "./api"
import { Icon, IconButton } from "./icons"
import * as library from "./library"
import { messages } from "./messages"
import { Modal } from "./modal"
import { Notice, Refusal } from "./notices"
import { Picture } from "./picture"
import { follow, go, hrefTo } from "./route"
import { useSight } from "./sight"

/** Images for which a collection is being chosen. */
export const choosing = signal<string[]>([])

/** Collections whose name has a text, a page at a time. */
export function useCollections(search = "") {
  const [found, setFound] = useState<Collection[]>()
  const [after, setAfter] = useState<string | null>(null)
  const [next, setNext] = useState<string | null>(null)
  const receive = (page: api.Page<Collection>) => {
    setFound((before = []) => (after ? [...before, ...page.items] : page.items))
    setNext(page.next)
  }
  const { failure, askAgain } = useAnswer((signal) => api.listCollections({ search, after }, signal), receive, [search, after])
  useEffect(() => setAfter(null), [search])
  const reload = () => (after ? setAfter(null) : askAgain())
  return { found, failure, askAgain, reload, more: next && <More key={next} load={() => setAfter(next)} /> }
}

/** The end of a list, which grows when one comes there. */
function More({ load }: { load: () => void }) {
  const [element, isSeen] = useSight<HTMLLIElement>()
  useEffect(() => {
    if (isSeen) load()
  }, [isSeen])
  return (
    <li ref={element} class="quiet">
      {messages.value.loading}
    </li>
  )
}

/** A new collection, or another name and description for one. */
function CollectionForm({ collection, onSaved }: { collection?: Collection; onSaved: (saved: Collection) => void }) {
  const t = messages.value
  const [failure, setFailure] = useState("")
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const text = { name: `${form.get("name")}`.trim(), description: `${form.get("description")}`.trim() || null }
    try {
      onSaved(await (collection ? api.changeCollection(collection.uuid, text) : api.createCollection(text)))
    } catch (error) {
      setFailure((error as Error).message)
    }
  }
  return (
    <form class="form" onSubmit={submit}>
      <label>
        {t.album.name}
        <input name="name" defaultValue={collection?.name ?? ""} required minLength={2} maxLength={255} autocomplete="off" />
      </label>
      <label>
        {t.album.description}
        <textarea name="description" defaultValue={collection?.description ?? ""} maxLength={10_000} rows={2} />
      </label>
      <Refusal text={failure} />
      <button type="submit" class="button primary">
        {collection ? t.viewer.keep : t.album.save}
      </button>
    </form>
  )
}

export function CollectionChooser() {
  const t = messages.value
  const uuids = choosing.value
  const [search, setSearch] = useState("")
  const [refusal, setRefusal] = useState("")
  const { found, failure, more } = useCollections(search)
  const close = () => (choosing.value = [])
  const choose = (chosen: Collection) => library.addTo(chosen, uuids).then(close, (error: Error) => setRefusal(error.message))
  return (
    <Modal title={t.album.choose} onClose={close}>
      <p class="quiet">{t.album.moves}</p>
      <Refusal text={refusal || failure} />
      {(search || (found && found.length > 0)) && (
        <div class="form">
          <label>
            {t.album.search}
            <input type="search" maxLength={255} autocomplete="off" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
          </label>
        </div>
      )}
      {found && found.length > 0 && (
        <ul class="choices">
          {found.map((each) => (
            <li key={each.uuid}>
              <button type="button" onClick={() => void choose(each)}>
                <Icon name="folder" />
                <span class="name">{each.name}</span>
                <span class="quiet">{t.album.images(each.imageCount)}</span>
              </button>
            </li>
          ))}
          {more}
        </ul>
      )}
      <h3>{t.album.create}</h3>
      <CollectionForm onSaved={(made) => void choose(made)} />
    </Modal>
  )
}

export function CollectionsPage() {
  const t = messages.value
  const { found, failure, askAgain, reload, more } = useCollections()
  const [isCreating, setCreating] = useState(false)
  return (
    <>
      <div class="bar">
        <h1>{t.collections}</h1>
        <button type="button" class="button" onClick={() => setCreating(true)}>
          <Icon name="add" />
          {t.album.create}
        </button>
      </div>
      {failure && <Notice text={failure} retry={askAgain} />}
      {found && !found.length && (
        <div class="empty">
          <Icon name="folder" />
          <h2>{t.album.none}</h2>
          <p>{t.album.noneHint}</p>
        </div>
      )}
      <ul class="albums">
        {found?.map((each) => (
          <li key={each.uuid}>
            <Album collection={each} />
          </li>
        ))}
        {more}
      </ul>
      {isCreating && (
        <Modal title={t.album.create} onClose={() => setCreating(false)}>
          <CollectionForm
            onSaved={() => {
              setCreating(false)
              reload()
            }}
          />
        </Modal>
      )}
    </>
  )
}

function Album({ collection }: { collection: Collection }) {
  const [covers, setCovers] = useState<Image[]>([])
  const [element, isSeen] = useSight<HTMLAnchorElement>()
  const isWanted = isSeen && collection.imageCount > 0
  const query = { collection: collection.uuid, search: "", statuses: "", after: null, limit: 4 }
  const ask = async (signal: AbortSignal) => (isWanted ? (await api.listImages(query, signal)).items : [])
  useAnswer(ask, setCovers, [collection.uuid, collection.imageCount, isWanted]) // without covers an album is still of use
  return (
    <a
      ref={element}
      class="album"
      href={hrefTo({ collection: collection.uuid })}
      onClick={(event) => follow(event, { collection: collection.uuid })}
    >
      <span class={`covers of-${covers.length}`}>
        {covers.length ? covers.map((each) => <Picture key={each.uuid} image={each} width={160} alt="" />) : <Icon name="image" />}
      </span>
      <span class="name">{collection.name}</span>
      <span class="quiet">{messages.value.album.images(collection.imageCount)}</span>
    </a>
  )
}

/** A link to an image's collection. */
export function CollectionLink({ uuid }: { uuid: string }) {
  const [found, setFound] = useState<Collection>()
  useAnswer((signal) => api.getCollection(uuid, signal), setFound, [uuid])
  return <a href={hrefTo({ collection: uuid })}>{found?.uuid === uuid ? found.name : "…"}</a>
}

/** The head of a collection's page, from where it is renamed and deleted. */
export function CollectionHeader({ uuid }: { uuid: string }) {
  const t = messages.value
  const [found, setFound] = useState<Collection>()
  const [isEditing, setEditing] = useState(false)
  const [isDeleting, setDeleting] = useState(false)
  const { failure } = useAnswer((signal) => api.getCollection(uuid, signal), setFound, [uuid, !library.failure.value])
  const count = library.count.value
  return (
    <>
      <div class="bar">
        <a class="button ghost" href={hrefTo({ view: "collections" })} onClick={(event) => follow(event, { view: "collections" })}>
          <Icon name="back" />
          {t.album.back}
        </a>
        <h1>{found?.name ?? t.collections}</h1>
        {found && <IconButton name="edit" label={t.viewer.edit} onClick={() => setEditing(true)} />}
        <p class="quiet" role="status">
          {count > 0 && t.total(count, library.isExact.value)}
        </p>
        <button type="button" class="button danger" onClick={() => setDeleting(true)}>
          <Icon name="remove" />
          {t.album.remove}
        </button>
      </div>
      {found?.description && <p class="about">{found.description}</p>}
      <Refusal text={failure} />
      {isEditing && found && (
        <Modal title={t.viewer.edit} onClose={() => setEditing(false)}>
          <CollectionForm
            collection={found}
            onSaved={(saved) => {
              setFound(saved)
              setEditing(false)
            }}
          />
        </Modal>
      )}
      {isDeleting && <Deletion uuid={uuid} onClose={() => setDeleting(false)} />}
    </>
  )
}

function Deletion({ uuid, onClose }: { uuid: string; onClose: () => void }) {
  const t = messages.value
  const [failure, setFailure] = useState("")
  const [isBusy, setBusy] = useState(false)
  const remove = () => {
    setBusy(true)
    api.deleteCollection(uuid).then(
      () => go({ view: "collections" }),
      (error: Error) => {
        setFailure(error.message)
        setBusy(false)
      },
    )
  }
  return (
    <Modal title={t.album.reallyRemove} onClose={onClose}>
      <p>{t.album.stay}</p>
      <Refusal text={failure} />
      <div class="actions">
        <button type="button" class="button danger" disabled={isBusy} onClick={remove}>
          {t.album.remove}
        </button>
        <button type="button" class="button" onClick={onClose}>
          {t.cancel}
        </button>
      </div>
    </Modal>
  )
}
