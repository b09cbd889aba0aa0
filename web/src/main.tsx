import { effect, useSignalEffect } from "@preact/signals"
import { type FunctionComponent, render } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import * as api from "./api"
import { choosing, CollectionChooser, CollectionsPage, Modal } from "./collections"
import { Grid } from "./grid"
import { Icon, IconButton, type IconName } from "./icons"
import { isDragging } from "./input"
import * as library from "./library"
import { type Language, language, messages, NAMES, speak } from "./messages"
import { Notice, Refusal } from "./notices"
import { follow, go, hrefTo, route, type Route } from "./route"
import { Shelf } from "./shelf"
import { nextTheme, theme } from "./theme"
import { Toasts } from "./toast-list"
import { UploadPanel } from "./upload-panel"
import { enqueue } from "./uploads"
import { Viewer } from "./viewer"

import "./watch"

function App() {
  const { view, image } = route.value
  const isViewing = image !== "" && view !== "playground"
  return (
    <>
      <a class="skip" href="#main">
        {messages.value.skip}
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <Page />
      </main>
      <div class="dock">
        <SelectionBar />
        {!isViewing && <Toasts />}
        <UploadPanel />
      </div>
      <Shelf />
      {isViewing && <Viewer uuid={image} />}
      {choosing.value.length > 0 && <CollectionChooser />}
      {api.isSignInNeeded.value && <SignIn />}
      <DropTarget />
    </>
  )
}

const loadOperations = async () => (await import("./operations-page")).OperationsPage
const loadPlayground = async () => (await import("./playground/page")).PlaygroundPage

/** A page whose script is fetched when it is first shown. */
function Later({ load }: { load: () => Promise<FunctionComponent> }) {
  const t = messages.value
  const [Loaded, setLoaded] = useState<FunctionComponent>()
  const [hasFailed, setFailed] = useState(false)
  useEffect(() => {
    load().then(
      (found) => setLoaded(() => found),
      () => setFailed(true),
    )
  }, [])
  if (Loaded) return <Loaded />
  if (!hasFailed) return <p class="quiet loading">{t.loading}</p>
  return <Notice text={t.errors.offline} retry={() => location.reload()} />
}

function Page() {
  const { view } = route.value
  switch (view) {
    case "operations":
      return <Later key={view} load={loadOperations} />
    case "collections":
      return <CollectionsPage />
    case "playground":
      return <Later key={view} load={loadPlayground} />
    default:
      return <Library />
  }
}

function Header() {
  const t = messages.value
  const { view, collection } = route.value
  const isLibrary = view === "library" && !collection
  return (
    <header class="top">
      <a class="brand" href="/" onClick={(event) => follow(event, {})}>
        <Icon name="image" />
        <span>{t.title}</span>
      </a>
      <nav aria-label={t.main}>
        <a href="/" aria-current={isLibrary ? "page" : undefined} onClick={(event) => follow(event, {})}>
          {t.library}
        </a>
        <a
          href={hrefTo({ view: "collections" })}
          aria-current={view === "collections" || (view === "library" && collection) ? "page" : undefined}
          onClick={(event) => follow(event, { view: "collections" })}
        >
          {t.collections}
        </a>
        <a
          href={hrefTo({ view: "playground" })}
          aria-current={view === "playground" ? "page" : undefined}
          onClick={(event) => follow(event, { view: "playground" })}
        >
          {t.playground.short}
        </a>
      </nav>
      <Search />
      <div class="tools">
        <UploadButton />
        <a
          class="icon-button"
          href={hrefTo({ view: "operations" })}
          aria-label={t.operations.title}
          title={t.operations.title}
          aria-current={view === "operations" ? "page" : undefined}
          onClick={(event) => follow(event, { view: "operations" })}
        >
          <Icon name="pulse" />
        </a>
        <IconButton name={theme.value} label={t.theme[theme.value]} onClick={nextTheme} />
        <select
          class="language"
          aria-label={t.language}
          value={language.value}
          onChange={(event) => speak(event.currentTarget.value as Language)}
        >
          {Object.entries(NAMES).map(([code, name]) => (
            <option key={code} value={code} lang={code}>
              {name}
            </option>
          ))}
        </select>
        {api.credential.value && <IconButton name="close" label={t.signIn.out} onClick={api.signOut} />}
      </div>
    </header>
  )
}

/** Typing searches after a short rest. The URL follows. */
function Search() {
  const t = messages.value
  const field = useRef<HTMLInputElement>(null)
  const timer = useRef(0)
  useSignalEffect(() => {
    const { search } = route.value
    if (field.current && document.activeElement !== field.current) field.current.value = search
  })
  const search = (delay: number) => {
    clearTimeout(timer.current)
    timer.current = window.setTimeout(() => {
      const text = field.current!.value.trim()
      const { filter, sort, collection, search } = route.peek()
      if (text !== search) go({ filter, sort, collection, search: text }, { replace: Boolean(search) && Boolean(text) })
    }, delay)
  }
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        search(0)
      }}
    >
      <Icon name="search" />
      <input
        ref={field}
        type="search"
        name="search"
        maxLength={255}
        autocomplete="off"
        aria-label={t.search}
        placeholder={t.search}
        defaultValue={route.peek().search}
        onInput={() => search(300)}
        onBlur={() => search(0)} // or a picture that is opened at once would close again
      />
    </form>
  )
}

function UploadButton({ isLarge = false }: { isLarge?: boolean }) {
  const t = messages.value.upload
  const files = useRef<HTMLInputElement>(null)
  const folder = useRef<HTMLInputElement>(null)
  const camera = useRef<HTMLInputElement>(null)
  const take = (input: HTMLInputElement) => {
    enqueue([...(input.files ?? [])].filter((each) => !each.name.startsWith(".")))
    input.value = ""
  }
  useEffect(() => folder.current?.setAttribute("webkitdirectory", ""), [])
  return (
    <span class="upload-buttons">
      <button type="button" class="button primary" onClick={() => files.current?.click()}>
        <Icon name="upload" />
        <span>{isLarge ? t.files : t.button}</span>
      </button>
      <button type="button" class="button camera" aria-label={t.camera} title={t.camera} onClick={() => camera.current?.click()}>
        <Icon name="camera" />
        {isLarge && <span>{t.camera}</span>}
      </button>
      <button type="button" class="button folder" aria-label={t.folder} title={t.folder} onClick={() => folder.current?.click()}>
        <Icon name="folder" />
        {isLarge && <span>{t.folder}</span>}
      </button>
      <input ref={files} type="file" multiple accept="image/*,.heic,.heif,.jxl,.tif,.tiff,.avif" hidden onChange={(event) => take(event.currentTarget)} />
      <input ref={camera} type="file" accept="image/*" capture="environment" hidden onChange={(event) => take(event.currentTarget)} />
      <input ref={folder} type="file" multiple hidden onChange={(event) => take(event.currentTarget)} />
    </span>
  )
}

function Library() {
  const t = messages.value
  const { search, filter, collection } = route.value
  const isEmpty = !library.shown.value.length && !library.isLoading.value && !library.failure.value
  return (
    <>
      {collection ? <CollectionHeader uuid={collection} /> : <LibraryHeader />}
      {isEmpty && (search || filter !== "ready" || collection) && (
        <Empty
          icon={search ? "search" : "image"}
          title={search ? t.empty.search : collection ? t.empty.collection : filter === "failed" ? t.empty.failed : t.empty.working}
          text={search ? t.empty.searchHint(search) : collection ? t.empty.collectionHint : ""}
        />
      )}
      {isEmpty && !search && filter === "ready" && !collection && (
        <Empty icon="upload" title={t.empty.library} text={t.empty.libraryHint}>
          <UploadButton isLarge />
        </Empty>
      )}
      <Grid />
      {library.isLoading.value && (
        <p class="quiet loading" role="status">
          {t.loading}
        </p>
      )}
      {library.failure.value && !api.isSignInNeeded.value && (
        <Notice text={`${t.errors.list} ${library.failure.value}`} retry={() => void library.tryAgain()} />
      )}
    </>
  )
}

function LibraryHeader() {
  const t = messages.value
  const { filter, search, sort } = route.value
  const otherSort = sort === "newest" ? "oldest" : "newest"
  return (
    <div class="bar">
      <h1>{t.filters[filter]}</h1>
      <p class="quiet" role="status">
        {library.shown.value.length > 0 && t.total(library.total.value, library.isExact.value)}
      </p>
      <div class="filters" role="group" aria-label={t.filter}>
        {(Object.keys(t.filters) as Route["filter"][]).map((each) => (
          <a
            key={each}
            href={hrefTo({ search, sort, filter: each })}
            aria-current={each === filter ? "true" : undefined}
            onClick={(event) => follow(event, { search, sort, filter: each })}
          >
            {t.filters[each]}
          </a>
        ))}
        <a
          class="sort"
          href={hrefTo({ search, filter, sort: otherSort })}
          onClick={(event) => follow(event, { search, filter, sort: otherSort })}
        >
          {t.sorts[sort]} <Icon name={sort === "newest" ? "down" : "up"} />
        </a>
      </div>
    </div>
  )
}

function CollectionHeader({ uuid }: { uuid: string }) {
  const t = messages.value
  const [found, setFound] = useState<api.Collection>()
  const [failure, setFailure] = useState("")
  useEffect(() => {
    setFailure("")
    api.getCollection(uuid).then(setFound, (error: Error) => setFailure(error.message))
  }, [uuid, api.credential.value, !library.failure.value])
  const remove = () =>
    api.deleteCollection(uuid).then(
      () => go({ view: "collections" }),
      (error: api.ApiError) => setFailure(error.status === 409 ? t.album.notEmpty : error.message),
    )
  return (
    <>
      <div class="bar">
        <a class="button ghost" href={hrefTo({ view: "collections" })} onClick={(event) => follow(event, { view: "collections" })}>
          <Icon name="back" />
          {t.album.back}
        </a>
        <h1>{found?.name ?? t.collections}</h1>
        <p class="quiet" role="status">
          {library.shown.value.length > 0 && t.total(library.total.value, library.isExact.value)}
        </p>
        <button type="button" class="button danger" onClick={() => void remove()}>
          <Icon name="remove" />
          {t.album.remove}
        </button>
      </div>
      {found?.description && <p class="about">{found.description}</p>}
      <Refusal text={failure} />
    </>
  )
}

function Empty(props: { icon: IconName; title: string; text: string; children?: preact.ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={props.icon} />
      <h2>{props.title}</h2>
      {props.text && <p>{props.text}</p>}
      {props.children}
    </div>
  )
}

function SelectionBar() {
  const t = messages.value.selection
  const uuids = [...library.selected.value]
  const { collection, filter, view } = route.value
  const [failure, setFailure] = useState("")
  useEffect(() => setFailure(""), [library.selected.value])
  if (!uuids.length || view !== "library") return null
  const attempt = (work: Promise<void>) => void work.catch((error: Error) => setFailure(error.message))
  return (
    <section class="selection" aria-label={t.count(uuids.length)}>
      <p role="status">{failure || t.count(uuids.length)}</p>
      {uuids.length < library.shown.value.length && (
        <button type="button" class="link" onClick={library.selectAll}>
          {t.all}
        </button>
      )}
      <button type="button" class="button" onClick={() => (choosing.value = uuids)}>
        <Icon name="folder" />
        <span>{t.addTo}</span>
      </button>
      {collection && (
        <button type="button" class="button" onClick={() => attempt(library.takeOut(collection, uuids))}>
          {t.takeOut}
        </button>
      )}
      {filter === "failed" ? (
        <button type="button" class="button" onClick={() => attempt(library.retry(uuids))}>
          <Icon name="retry" />
          <span>{t.again}</span>
        </button>
      ) : (
        <button type="button" class="button" onClick={() => attempt(library.order(uuids))}>
          <Icon name="recipe" />
          <span>{t.larger}</span>
        </button>
      )}
      <button type="button" class="button danger" onClick={() => library.remove(uuids)}>
        <Icon name="remove" />
        <span>{t.remove}</span>
      </button>
      <IconButton name="close" label={t.clear} onClick={() => (library.selected.value = new Set())} />
    </section>
  )
}

function SignIn() {
  const t = messages.value.signIn
  const wasTried = api.credential.value !== ""
  return (
    <Modal title={t.title}>
      <p class="quiet">{t.text}</p>
      <Refusal text={wasTried ? t.refused : ""} />
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          api.signIn(`${new FormData(event.currentTarget).get("credential")}`.trim())
        }}
      >
        <label>
          {t.field}
          <input name="credential" type="password" required autocomplete="off" spellcheck={false} />
        </label>
        <button type="submit" class="button primary">
          {t.button}
        </button>
      </form>
    </Modal>
  )
}

/** Files may be dropped anywhere on the page. */
function DropTarget() {
  const t = messages.value.upload
  return (
    <div class={`drop ${isDragging.value ? "over" : ""}`} aria-hidden="true">
      <Icon name="upload" />
      <strong>{t.drop}</strong>
      <span>{t.dropHint}</span>
    </div>
  )
}

effect(() => {
  const t = messages.value
  const { view } = route.value
  const pages = { operations: t.operations.title, collections: t.collections, playground: t.playground.title, library: "" }
  const page = pages[view]
  document.title = page ? `${page} · ${t.title}` : t.title
})

render(<App />, document.getElementById("app")!)
