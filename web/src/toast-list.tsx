import { isHeld, toasts } from "./toasts"

/** The messages of now. A dialog shows them itself, because everything outside it is inert. */
export function Toasts() {
  return (
    <div
      class="toasts"
      role="status"
      onPointerEnter={() => (isHeld.value = true)}
      onPointerLeave={() => (isHeld.value = false)}
      onFocusIn={() => (isHeld.value = true)}
      onFocusOut={() => (isHeld.value = false)}
    >
      {toasts.value.map((each) => (
        <div key={each.id} class="toast">
          <span>{each.text}</span>
          {each.label && (
            <button type="button" class="link" onClick={each.act}>
              {each.label}
            </button>
          )}
        </div>
      ))}
    </div>
  )
}
