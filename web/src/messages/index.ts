import { batch, effect, signal } from "@preact/signals"
import { en, type Messages } from "./en"

/** Other languages than the page's own are fetched when they are wanted. */
const LANGUAGES = {
  en: async (): Promise<Messages> => en,
  de: async (): Promise<Messages> => (await import("./de")).de,
  ar: async (): Promise<Messages> => (await import("./ar")).ar,
}
export type Language = keyof typeof LANGUAGES
export const NAMES: Record<Language, string> = { en: "English", de: "Deutsch", ar: "العربية" }

const isLanguage = (text: string | null): text is Language => text !== null && text in LANGUAGES
const stored = localStorage.getItem("language")
const preferred = navigator.languages.map((each) => each.slice(0, 2)).find(isLanguage)

export const language = signal<Language>("en")
export const messages = signal<Messages>(en)

async function load(chosen: Language): Promise<void> {
  const found = await LANGUAGES[chosen]()
  batch(() => {
    language.value = chosen
    messages.value = found
  })
}

/** Switch the language, and remember it in this browser. */
export function speak(chosen: Language): void {
  localStorage.setItem("language", chosen)
  load(chosen).catch(() => location.reload()) // the page of another release names other files
}

// Without the language's file, the page begins in English.
await load(isLanguage(stored) ? stored : (preferred ?? "en")).catch(() => undefined)

effect(() => {
  document.documentElement.lang = language.value
  document.documentElement.dir = messages.value.dir
})

export function formatBytes(bytes: number): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"] as const
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1)
  const unitDisplay = power ? "short" : "long" // the short form of bytes is "byte", however many
  const options = { style: "unit", unit: units[power]!, unitDisplay, maximumFractionDigits: power > 1 ? 1 : 0 }
  return new Intl.NumberFormat(language.value, options as Intl.NumberFormatOptions).format(bytes / 1000 ** power)
}

export function formatTime(time: string): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time))
}

/** Two units at most, as in "3 min 20 s". */
export function formatDuration(seconds: number): string {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]] as const
  const first = Math.max(units.findIndex(([, length]) => seconds >= length), 0)
  if (seconds < 10) return formatUnit(seconds, "second", seconds < 1 ? 2 : 1)
  let left = Math.round(seconds / units[Math.min(first + 1, 3)]![1]) * units[Math.min(first + 1, 3)]![1]
  const parts: string[] = []
  for (const [unit, length] of units.slice(first, first + 2)) {
    const count = Math.floor(left / length)
    left -= count * length
    if (count) parts.push(formatUnit(count, unit, 0))
  }
  return parts.join(" ")
}

function formatUnit(count: number, unit: string, maximumFractionDigits: number): string {
  return new Intl.NumberFormat(language.value, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits }).format(count)
}

export function formatNumber(count: number, maximumFractionDigits = 0): string {
  return new Intl.NumberFormat(language.value, { maximumFractionDigits }).format(count)
}
