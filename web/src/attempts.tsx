/** The attempts at processing an image, with the reason of each that did not succeed. */

import { useState } from "preact/hooks"
import { useAnswer } from "./answers"
import * as api from "./api"
import type { Attempt, Image } from "./api"
import { formatTime, messages } from "./messages"

/** Ask again once the image has another status, or was tried again. */
export function Attempts({ image }: { image: Image }) {
  const t = messages.value.viewer
  const [found, setFound] = useState<Attempt[]>([])
  const inputs = [image.uuid, image.status, image.attempts, image.pendingRenditions.length]
  useAnswer((signal) => api.listAttempts(image.uuid, signal), setFound, inputs)
  // One attempt that succeeded is nothing to tell.
  if (found.length < 2 && found.every((each) => each.outcome === "succeeded")) return null
  return (
    <section>
      <h3>{t.attempts}</h3>
      <ol class="attempts">
        {found.map((each) => (
          <li key={each.number}>
            <span class="name">{each.outcome ? (t.outcomes[each.outcome] ?? each.outcome) : t.working}</span>
            {each.reason && <span>{messages.value.codes[each.reason] ?? each.reason.replaceAll("_", " ")}</span>}
            <time class="quiet" dateTime={each.startedAt}>
              {formatTime(each.startedAt)}
              {each.endedAt && ` · ${t.seconds((Date.parse(each.endedAt) - Date.parse(each.startedAt)) / 1000)}`}
            </time>
          </li>
        ))}
      </ol>
    </section>
  )
}
