/** Short messages at the edge of the page. */

import { signal } from "@preact/signals"

export interface Toast {
  id: number
  text: string
  label: string
  act: () => void
}

interface Options {
  milliseconds?: number
  /** Of a button that calls `act`. */
  label?: string
  act?: () => void
  /** Called once the time is over, but not after `act`. */
  expire?: () => void
}

export const toasts = signal<Toast[]>([])
/** Time stands still while the pointer or the focus is on a message. */
export const isHeld = signal(false)

let last = 0

/** Show a message, and return a function that takes it away. */
export function notify(text: string, options: Options = {}): () => void {
  const id = ++last
  let left = options.milliseconds ?? 5000
  const close = () => {
    clearInterval(timer)
    toasts.value = toasts.peek().filter((each) => each.id !== id)
    if (!toasts.peek().length) isHeld.value = false
  }
  const timer = setInterval(() => {
    if (isHeld.peek() || (left -= 250) > 0) return
    close()
    options.expire?.()
  }, 250)
  const act = () => {
    close()
    options.act?.()
  }
  toasts.value = [...toasts.peek(), { id, text, label: options.label ?? "", act }]
  return close
}
