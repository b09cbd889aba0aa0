/** Dialogs in front of the page. */

import { useLayoutEffect, useRef } from "preact/hooks"
import type { ComponentChildren } from "preact"
import { IconButton } from "./icons"
import { messages } from "./messages"

/** A dialog that Escape, its button and its work close. The focus goes back to where it was. */
export function Modal({ title, onClose, children }: { title: string; onClose?: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const before = document.activeElement
    dialog.current?.showModal()
    return () => {
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation() // the page's shortcuts rest meanwhile
    if (event.key === "Escape") onClose?.()
  }
  return (
    <dialog ref={dialog} class="modal" aria-label={title} onKeyDown={onKeyDown} onCancel={(event) => event.preventDefault()}>
      <header>
        <h2>{title}</h2>
        {onClose && <IconButton name="close" label={messages.value.close} onClick={onClose} />}
      </header>
      {children}
    </dialog>
  )
}
