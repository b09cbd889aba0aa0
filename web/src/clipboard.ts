import { messages } from "./messages"
import { notify } from "./toasts"

/** Copy a text, or show it where browsers keep pages from doing so: those from http. */
export async function copy(text: string): Promise<void> {
  const t = messages.peek().viewer
  try {
    await navigator.clipboard.writeText(text)
    notify(t.copied, { milliseconds: 2000 })
  } catch {
    notify(t.notCopied(text), { milliseconds: 20_000 })
  }
}
