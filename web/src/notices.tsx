/** Sentences about what went wrong, where it did. */

import { Icon } from "./icons"
import { messages } from "./messages"

/** Say why something was refused. An empty text shows nothing. */
export function Refusal({ text }: { text: string }) {
  if (!text) return null
  return (
    <p class="refusal" role="alert">
      {text}
    </p>
  )
}

/** Say that something could not be had, and offer to try again. */
export function Notice({ text, retry }: { text: string; retry: () => void }) {
  return (
    <div class="notice" role="alert">
      <p>{text}</p>
      <button type="button" class="button" onClick={retry}>
        <Icon name="retry" />
        {messages.value.retry}
      </button>
    </div>
  )
}
