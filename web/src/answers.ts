/** Answers to questions that change with what is shown: that to an earlier question never takes the place of a later one. */

import { useEffect, useState } from "preact/hooks"
import * as api from "./api"

/**
 * Ask when a component is first shown, when an input changes, and when another key is used.
 *
 * Return why there is no answer, with the API's code for it, and how to ask again.
 */
export function useAnswer<Found>(
  ask: (signal: AbortSignal) => Promise<Found>,
  receive: (found: Found) => void,
  inputs: readonly unknown[],
): { failure: string; code: string; askAgain: () => void } {
  const [error, setError] = useState<api.ApiError>()
  const [round, setRound] = useState(0)
  useEffect(() => {
    const controller = new AbortController()
    setError(undefined)
    ask(controller.signal).then(
      (found) => controller.signal.aborted || receive(found),
      (thrown: api.ApiError) => controller.signal.aborted || setError(thrown),
    )
    return () => controller.abort()
  }, [...inputs, api.credential.value, round])
  return { failure: error?.message ?? "", code: error?.code ?? "", askAgain: () => setRound((last) => last + 1) }
}
