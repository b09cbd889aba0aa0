/** A picture that can be enlarged by wheel, pinch, double click and keyboard, and moved while it is large. */

import { signal } from "@preact/signals"
import { useLayoutEffect, useRef } from "preact/hooks"
import type { ComponentChildren } from "preact"

/** How far a picture is enlarged, unless its pixels need more to be seen one by one. */
const MOST = 8
const STEP = 1.5
const PAN = 80

interface View {
  scale: number
  /** In CSS pixels, from the center. */
  x: number
  y: number
}

const WHOLE: View = { scale: 1, x: 0, y: 0 }
export const view = signal(WHOLE)

function show({ scale, x, y }: View, frame: HTMLElement): void {
  const bounded = Math.min(Math.max(scale, 1), Math.max(MOST, view.peek().scale))
  const limit = (side: number, at: number) => Math.min(Math.max(at, (-side * (bounded - 1)) / 2), (side * (bounded - 1)) / 2)
  view.value = { scale: bounded, x: limit(frame.clientWidth, x), y: limit(frame.clientHeight, y) }
}

/** Enlarge so that a point of the frame stays where it is. The point is given from the frame's center. */
function zoom(factor: number, frame: HTMLElement, point = { x: 0, y: 0 }): void {
  const { scale, x, y } = view.peek()
  const next = Math.min(Math.max(scale * factor, 1), Math.max(MOST, scale))
  const real = next / scale
  show({ scale: next, x: point.x - (point.x - x) * real, y: point.y - (point.y - y) * real }, frame)
}

/** Show one pixel of the image as one of the screen, or the whole picture again. */
export function showPixels(width: number): void {
  const frame = document.querySelector<HTMLElement>(".zoom")
  const drawn = frame?.querySelector<HTMLElement>(".frame")?.clientWidth // without the enlargement
  if (!frame || !drawn) return
  const scale = width / devicePixelRatio / drawn
  view.value = view.peek().scale === 1 && scale > 1 ? { scale, x: 0, y: 0 } : WHOLE
}

/** Act on a key that zooms or moves the picture. Return whether it did. */
export function zoomByKey(key: string): boolean {
  const frame = document.querySelector<HTMLElement>(".zoom")
  if (!frame) return false
  const { scale, x, y } = view.peek()
  if (key === "+" || key === "=") zoom(STEP, frame)
  else if (key === "-") zoom(1 / STEP, frame)
  else if (key === "0") view.value = WHOLE
  else if (scale > 1 && key === "ArrowLeft") show({ scale, x: x + PAN, y }, frame)
  else if (scale > 1 && key === "ArrowRight") show({ scale, x: x - PAN, y }, frame)
  else if (scale > 1 && key === "ArrowUp") show({ scale, x, y: y + PAN }, frame)
  else if (scale > 1 && key === "ArrowDown") show({ scale, x, y: y - PAN }, frame)
  else return false
  return true
}

export function Zoom({ children }: { children: ComponentChildren }) {
  const element = useRef<HTMLDivElement>(null)
  const { scale, x, y } = view.value

  useLayoutEffect(() => {
    const frame = element.current!
    const fingers = new Map<number, PointerEvent>()
    const pointOf = (event: MouseEvent) => {
      const box = frame.getBoundingClientRect()
      return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 }
    }
    const onWheel = (event: WheelEvent) => {
      event.preventDefault()
      zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), frame, pointOf(event))
    }
    const onDown = (event: PointerEvent) => {
      fingers.set(event.pointerId, event)
      if (view.peek().scale > 1 || fingers.size > 1) for (const id of fingers.keys()) frame.setPointerCapture(id)
    }
    const onMove = (event: PointerEvent) => {
      const before = fingers.get(event.pointerId)
      if (!before) return
      fingers.set(event.pointerId, event)
      if (fingers.size === 2) {
        const [other] = [...fingers.values()].filter((each) => each.pointerId !== event.pointerId)
        const spread = (one: PointerEvent) => Math.hypot(one.clientX - other!.clientX, one.clientY - other!.clientY)
        zoom(spread(event) / Math.max(spread(before), 1), frame, pointOf(event))
      } else if (view.peek().scale > 1) {
        const { scale, x, y } = view.peek()
        show({ scale, x: x + event.clientX - before.clientX, y: y + event.clientY - before.clientY }, frame)
      }
    }
    const onUp = (event: PointerEvent) => fingers.delete(event.pointerId)
    const onDouble = (event: MouseEvent) => {
      if (view.peek().scale > 1) view.value = WHOLE
      else zoom(STEP * STEP, frame, pointOf(event))
    }
    frame.addEventListener("wheel", onWheel, { passive: false })
    frame.addEventListener("pointerdown", onDown)
    frame.addEventListener("pointermove", onMove)
    for (const name of ["pointerup", "pointercancel"] as const) frame.addEventListener(name, onUp)
    frame.addEventListener("dblclick", onDouble)
    return () => (view.value = WHOLE) // the listeners go with the element
  }, [])

  return (
    <div ref={element} class={`zoom ${scale > 1 ? "large" : ""}`}>
      <div style={{ transform: `translate(${x}px, ${y}px) scale(${scale})` }}>{children}</div>
    </div>
  )
}
