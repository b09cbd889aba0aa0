import { effect, useSignalEffect } from "@preact/signals"
import { type FunctionComponent, render } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import * as api from "./api"
import { choosing, CollectionChooser, CollectionHeader, CollectionsPage } from "./collections"
import { Grid } from "./grid"
import { Icon, IconButton, type IconName } from "./icons"
import { isDragging } from "./input"
import * as library from "./library"
import { type Language, language, messages, NAMES, speak } from "./messages"
import { Modal } from "./modal"
import { Notice, Refusal } from "./notices"
import { follow, go, hrefTo, route, type Route } from "./route"
import { Shelf } from "./shelf"
import { nextTheme, theme } from "./theme"
import { Toasts } from "./toast-list"
import { UploadButton } from "./upload-button"
import { UploadPanel } from "./upload-panel"
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
        {api.credential.value && (
          <button type="button" class="button" title={t.signIn.outHint} onClick={api.signOut}>
            <Icon name="leave" />
            <span>{t.signIn.out}</span>
          </button>
        )}
      </div>
    </header>
  )
}

/** Typing searches after a short rest. The URL follows. */
function Search() {
  const t = messages.value
  const field = useRef<HTMLInputElement>(null)
  const timer = useRef(0)
  const typed = useRef(route.peek().search)
  useSignalEffect(() => {
    const { search } = route.value
    if (!field.current || search === typed.current) return
    clearTimeout(timer.current) // one has gone elsewhere, perhaps back
    field.current.value = typed.current = search
  })
  const search = (delay: number) => {
    clearTimeout(timer.current)
    timer.current = window.setTimeout(() => {
      const text = (typed.current = field.current!.value.trim())
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
      <h1>{filter === "ready" ? t.pictures : t.filters[filter]}</h1>
      <p class="quiet" role="status">
        {library.count.value > 0 && t.total(library.count.value, library.isExact.value)}
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
      <p class="quiet">
        {t.hint} <a href="/api-docs/#/keys">{t.hintLink}</a>
      </p>
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
