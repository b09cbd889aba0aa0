/** What is far below the window need not be loaded yet. */

import { type RefObject } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"

/** Return whether an element has come near the window, and the reference that names it. */
export function useSight<Kind extends Element>(): [RefObject<Kind | null>, boolean] {
  const element = useRef<Kind>(null)
  const [isSeen, setSeen] = useState(false)
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => setSeen((before) => before || entries.some((each) => each.isIntersecting)), { rootMargin: "200px" })
    observer.observe(element.current!)
    return () => observer.disconnect()
  }, [])
  return [element, isSeen]
}
