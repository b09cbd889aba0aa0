/** What the page shows, kept in its URL. */

import { signal } from "@preact/signals"

export interface Route {
  view: "library" | "collections" | "playground" | "operations"
  search: string
  filter: "ready" | "working" | "failed"
  sort: "newest" | "oldest"
  collection: string
  image: string
  /** The playground's recipe, as JSON. */
  recipe: string
}

const DEFAULTS: Route = { view: "library", search: "", filter: "ready", sort: "newest", collection: "", image: "", recipe: "" }

/** The one view with a path of its own, so that an edge can keep it from the public. */
const OPERATIONS_PATH = "/ops/"
const isOperations = () => location.pathname === OPERATIONS_PATH

function read(): Route {
  const given = new URLSearchParams(location.search)
  const filter = given.get("filter")
  const view = given.get("view")
  return {
    view: isOperations() ? "operations" : view === "collections" || view === "playground" ? view : "library",
    search: given.get("search") ?? "",
    filter: filter === "working" || filter === "failed" ? filter : "ready",
    sort: given.get("sort") === "oldest" ? "oldest" : "newest",
    collection: given.get("collection") ?? "",
    image: given.get("image") ?? "",
    recipe: given.get("recipe") ?? "",
  }
}

export const route = signal(read())

export function hrefTo(change: Partial<Route>): string {
  const wanted: Route = { ...DEFAULTS, ...change }
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(wanted))
    if (value !== DEFAULTS[name as keyof Route] && value !== "operations") query.set(name, value)
  const path = wanted.view === "operations" ? OPERATIONS_PATH : "/"
  return query.size ? `${path}?${query}` : path
}

export function go(change: Partial<Route>, { replace = false } = {}): void {
  const href = hrefTo(change)
  if (replace) history.replaceState(null, "", href)
  else history.pushState(null, "", href)
  route.value = read()
}

/** Follow a link within the page, unless the user wants a new tab. */
export function follow(event: MouseEvent, change: Partial<Route>): void {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return
  event.preventDefault()
  go(change)
}

addEventListener("popstate", () => (route.value = read()))
