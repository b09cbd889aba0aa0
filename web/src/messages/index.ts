import { computed, effect, signal } from "@preact/signals"
import { de } from "./de"
import { en, type Messages } from "./en"

const LANGUAGES = { en, de }
export type Language = keyof typeof LANGUAGES
export const NAMES: Record<Language, string> = { en: "English", de: "Deutsch" }

const isLanguage = (text: string | null): text is Language => text !== null && text in LANGUAGES
const stored = localStorage.getItem("language")
const preferred = navigator.languages.map((each) => each.slice(0, 2)).find(isLanguage)

export const language = signal<Language>(isLanguage(stored) ? stored : (preferred ?? "en"))
export const messages = computed<Messages>(() => LANGUAGES[language.value])

/** Switch the language, and remember it in this browser. */
export function speak(chosen: Language): void {
  localStorage.setItem("language", chosen)
  language.value = chosen
}

effect(() => {
  document.documentElement.lang = language.value
  document.title = messages.value.title
})

export function formatBytes(bytes: number): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"] as const
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1)
  const options = { style: "unit", unit: units[power]!, unitDisplay: "short", maximumFractionDigits: power > 1 ? 1 : 0 }
  return new Intl.NumberFormat(language.value, options as Intl.NumberFormatOptions).format(bytes / 1000 ** power)
}

export function formatTime(time: string): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time))
}
