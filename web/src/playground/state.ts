/** The recipe that is being built, the image that it is tried on, and what comes of it. */

import { batch, computed, effect, signal } from "@preact/signals"
import * as api from "../api"
import { type Field, readForm, type RecipeForm, type Value, type Values } from "./schema"
import { go, route } from "../route"
import type { Recipe } from "./urls"

const REST_MILLISECONDS = 300

export interface Step {
  id: number
  kind: string
  /** Only what differs from the initial values. */
  values: Values
}

export interface Result {
  url: string
  contentType: string
  bytes: number
  /** For making it, as the service measured. */
  milliseconds: number
}

export const form = signal<RecipeForm | null>(null)
export const steps = signal<Step[]>([])
export const output = signal<Values>({})
export const image = signal<api.Image | null>(null)
export const result = signal<Result | null>(null)
export const failure = signal<api.ApiError | null>(null)
export const isMaking = signal(false)

export const recipe = computed<Recipe>(() => ({
  operations: steps.value.map(({ kind, values }) => ({ kind, ...values })),
  output: output.value,
}))

let last = 0

/** Ask what recipes there can be. */
export async function fetchForm(signal: AbortSignal): Promise<RecipeForm> {
  return form.peek() ?? readForm(await (await api.send("GET", "/openapi.json", undefined, { signal })).json())
}

/** Go on with the recipe that the page's URL has. */
export function setForm(found: RecipeForm): void {
  batch(() => {
    form.value = found
    if (route.peek().recipe) read(route.peek().recipe)
  })
}

function read(text: string): void {
  try {
    const { operations, output: options } = JSON.parse(text) as Partial<Recipe>
    const known = (operations ?? []).filter((each) => form.peek()!.operations.has(each.kind))
    steps.value = known.map(({ kind, ...values }) => ({ id: ++last, kind, values }))
    output.value = options ?? {}
  } catch {
    // It is no recipe, so one begins without.
  }
}

const write = ({ operations, output }: Recipe) =>
  operations.length || Object.keys(output).length ? JSON.stringify({ operations, output }) : ""

export function add(kind: string): number {
  const fields = form.peek()?.operations.get(kind)?.fields ?? []
  const needed = fields.filter((each) => each.isRequired)
  const values = Object.fromEntries(needed.map((each) => [each.name, each.type === "image" ? image.peek()!.uuid : each.start]))
  // The service refuses a resize without a side, which its schema cannot say.
  if (kind === "resize") values["width"] = 640
  steps.value = [...steps.peek(), { id: ++last, kind, values }]
  return last
}

export function remove(id: number): void {
  steps.value = steps.peek().filter((each) => each.id !== id)
}

export function move(id: number, by: -1 | 1): void {
  const changed = [...steps.peek()]
  const from = changed.findIndex((each) => each.id === id)
  const other = changed[from + by]
  if (!other) return
  changed[from + by] = changed[from]!
  changed[from] = other
  steps.value = changed
}

export function setValue(id: number, field: Field, value: Value): void {
  steps.value = steps.peek().map((each) => (each.id === id ? { ...each, values: withValue(each.values, field, value) } : each))
}

export function setOutput(field: Field, value: Value): void {
  output.value = withValue(output.peek(), field, value)
}

function withValue(values: Values, field: Field, value: Value): Values {
  const { [field.name]: _, ...others } = values
  const isInitial = value === null || (!field.isRequired && JSON.stringify(value) === JSON.stringify(field.initial))
  return isInitial ? others : { ...others, [field.name]: value }
}

let timer = 0
let running: AbortController | null = null

/** Make the rendition anew after each change, once there was a short rest. Return how to stop. */
export function watch(): () => void {
  const stop = effect(() => {
    const [made, uuid] = [recipe.value, image.value?.uuid]
    clearTimeout(timer)
    running?.abort()
    if (!uuid || !form.value) return
    if (write(made) !== route.peek().recipe) go({ ...route.peek(), recipe: write(made) }, { replace: true })
    isMaking.value = true
    timer = window.setTimeout(() => void preview(uuid, made), REST_MILLISECONDS)
  })
  return () => {
    stop()
    clearTimeout(timer)
    running?.abort()
    show(null)
  }
}

async function preview(uuid: string, made: Recipe): Promise<void> {
  const mine = (running = new AbortController())
  try {
    const response = await api.send("POST", `/api/v1/images/${uuid}/preview`, made, { signal: mine.signal })
    const blob = await response.blob()
    if (mine.signal.aborted) return
    const milliseconds = Number(/dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "")?.[1])
    show({ url: URL.createObjectURL(blob), contentType: blob.type, bytes: blob.size, milliseconds })
    failure.value = null
  } catch (error) {
    if (mine.signal.aborted) return
    const { isOutage, retrySeconds } = (failure.value = error as api.ApiError)
    if (isOutage) {
      timer = window.setTimeout(() => void preview(uuid, made), 1000 * Math.max(retrySeconds, 1))
      return
    }
  }
  isMaking.value = false
}

function show(next: Result | null): void {
  if (result.peek()) URL.revokeObjectURL(result.peek()!.url)
  result.value = next
}
