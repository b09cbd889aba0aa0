/** Dark or light, or like the system. Remembered in this browser. */

import { effect, signal } from "@preact/signals"

const THEMES = ["system", "light", "dark"] as const
export type Theme = (typeof THEMES)[number]

const stored = localStorage.getItem("theme") as Theme | null
export const theme = signal<Theme>(stored && THEMES.includes(stored) ? stored : "system")

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!
  localStorage.setItem("theme", theme.value)
}

effect(() => {
  document.documentElement.dataset["theme"] = theme.value
})
