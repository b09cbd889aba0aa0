/** The state of the whole service, as `/api/v1/operations` and `/api/health` report it, asked for again and again. */

import { batch, computed, effect, signal } from "@preact/signals"
import * as api from "./api"
import { route } from "./route"

export interface Summary {
  images: Record<"awaiting_upload" | "pending" | "processing" | "succeeded" | "failed", number>
  oldestPendingSeconds: number | null
  oldestProcessingSeconds: number | null
  lastHour: {
    ended: { outcome: string; reason: string | null; count: number }[]
    publishSeconds: { p50: number; p95: number; p99: number } | null
  }
  deadLetters: { total: number; lastHour: number; newestAt: string | null }
  reconciliation: {
    runs: number
    failedRuns: number
    lastRunAt: string | null
    repairs: { kind: string; total: number; lastAt: string }[]
  }
}

export interface DeadLetter {
  id: string
  eventType: string
  image: string | null
  statusCode: number | null
  reason: string
  destination: string | null
  receivedAt: string
}

export interface RedriveOrder {
  codes: string[]
  failedSince: string | null
  failedUntil: string | null
}

/** Images that failed with these may succeed once the cause is fixed. The API's default for a redrive. */
export const OUTSIDE_CODES = [
  ...["delivery_given_up", "worker_lost", "decoder_crashed", "internal_error"],
]
/** All others. They say something about the image, or about a limit that may have been raised. */
export const OTHER_CODES = [
  ...["decoder_timeout", "decoder_out_of_memory", "upload_missing", "empty_file", "file_too_large"],
  ...["unsupported_format", "corrupt_image", "too_many_pixels", "side_too_long", "too_many_channels", "too_many_bits"],
  ...["metadata_too_large", "too_many_frames", "animation_too_large", "unsafe_svg", "svg_too_large"],
  ...["too_many_elements", "nested_too_deeply", "output_too_large", "output_side_too_long", "output_too_many_bytes"],
  ...["crop_outside", "watermark_missing", "unsupported_recipe", "other"],
]

export const PARTS = ["database", "store", "kafka"] as const
export type Part = (typeof PARTS)[number]

const LOOK_MILLISECONDS = 5000
const MAX_SAMPLES = 120

export const summary = signal<Summary | null>(null)
export const letters = signal<DeadLetter[]>([])
/** Parts that fail, each with a sentence. Null: not known. */
export const failing = signal<Partial<Record<Part, string>> | null>(null)
export const failure = signal<api.ApiError | null>(null)
export const seenAt = signal<Date | null>(null)
export const isPaused = signal(false)
export const samples = signal<{ at: number; open: number; succeeded: number }[]>([])

/** Images made in a minute, as far as this page has watched. Null: for too short a time. */
export const perMinute = computed(() => {
  const last = samples.value.at(-1)
  const first = samples.value.find((each) => last && each.at >= last.at - 65_000)
  if (!first || !last || last.at - first.at < 4000) return null
  return Math.max(((last.succeeded - first.succeeded) * 60_000) / (last.at - first.at), 0)
})

export type Trouble =
  | { kind: "unreachable" }
  | { kind: "partial" }
  | { kind: "pending" | "processing" | "reconciliation"; seconds: number }
  | { kind: "deadLetters" | "failures"; count: number }

/** What needs attention, by the same limits as the alerts of docs/operations.md. */
export const troubles = computed<Trouble[]>(() => {
  const found: Trouble[] = []
  if (failure.value) found.push({ kind: "unreachable" })
  else if (failing.value && Object.keys(failing.value).length) found.push({ kind: "partial" })
  const state = summary.value
  if (!state) return found
  const { oldestPendingSeconds, oldestProcessingSeconds, deadLetters, reconciliation, lastHour } = state
  const failures = lastHour.ended.filter((each) => OUTSIDE_CODES.includes(each.reason ?? ""))
  const count = failures.reduce((sum, each) => sum + each.count, 0)
  const idle = reconciliation.lastRunAt ? (seenAt.value!.getTime() - Date.parse(reconciliation.lastRunAt)) / 1000 : 0
  if ((oldestPendingSeconds ?? 0) > 300) found.push({ kind: "pending", seconds: oldestPendingSeconds! })
  if ((oldestProcessingSeconds ?? 0) > 600) found.push({ kind: "processing", seconds: oldestProcessingSeconds! })
  if (idle > 900) found.push({ kind: "reconciliation", seconds: idle })
  if (count) found.push({ kind: "failures", count })
  if (deadLetters.lastHour) found.push({ kind: "deadLetters", count: deadLetters.lastHour })
  return found
})

let running: AbortController | null = null

/** Ask for everything at once. What cannot be had leaves what was seen before. */
export async function look(): Promise<void> {
  running?.abort()
  const { signal } = (running = new AbortController())
  const get = async (path: string) => (await api.send("GET", `/api/v1/operations/${path}`, undefined, { signal })).json()
  const asked = [get("summary"), get("dead-letters?limit=100"), askHealth(signal)] as const
  const [state, list, health] = await Promise.allSettled(asked)
  if (signal.aborted) return
  const refusal = state.status === "rejected" ? state : list.status === "rejected" ? list : null
  batch(() => {
    failure.value = refusal && (refusal.reason as api.ApiError)
    failing.value = health.status === "fulfilled" ? health.value : null
    if (list.status === "fulfilled") letters.value = list.value.data
    if (state.status === "fulfilled") record(state.value)
  })
}

function record(state: Summary): void {
  const now = new Date()
  const { pending, processing, succeeded } = state.images
  summary.value = state
  seenAt.value = now
  const sample = { at: now.getTime(), open: pending + processing, succeeded }
  samples.value = [...samples.peek(), sample].slice(-MAX_SAMPLES)
}

async function askHealth(signal: AbortSignal): Promise<Partial<Record<Part, string>>> {
  const response = await fetch("/api/health", { signal })
  if (response.ok) return {}
  const { details } = await response.json()
  return Object.fromEntries((details ?? []).map((each: { parameter: string; message: string }) => [each.parameter, each.message]))
}

const isShown = computed(() => route.value.view === "operations")
let timer = 0

effect(() => {
  void api.credential.value
  clearInterval(timer)
  if (!isShown.value || isPaused.value) return
  void look()
  timer = window.setInterval(() => {
    if (document.visibilityState === "visible") void look()
  }, LOOK_MILLISECONDS)
})

export async function discard(id: string): Promise<void> {
  await api.send("DELETE", `/api/v1/operations/dead-letters/${id}`)
  letters.value = letters.peek().filter((each) => each.id !== id)
  void look()
}

export interface Redriven {
  images: number
  /** It stopped at some thousand images. */
  mayHaveMore: boolean
}

/** Retry what failed, or only count it. */
export async function redrive(order: RedriveOrder, { dryRun }: { dryRun: boolean }): Promise<Redriven> {
  return (await api.send("POST", "/api/v1/operations/actions/redrive", { ...order, dryRun })).json()
}
