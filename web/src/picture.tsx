/** An image's picture: its ThumbHash first, then the rendition that fits. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import { thumbHashToDataURL } from "thumbhash"
import { useAnswer } from "./answers"
import * as api from "./api"
import type { Image, Rendition } from "./api"
import { previews } from "./uploads"

/** Return the renditions that show the whole image, smallest first. A cropped thumbnail is not one of them. */
export function proportional(image: Image): Rendition[] {
  const ratio = (image.width ?? 1) / (image.height ?? 1)
  return image.renditions
    .filter((each) => Math.abs(each.width / each.height / ratio - 1) < 0.05 && each.contentType !== "image/tiff" && each.contentType !== "image/jxl")
    .sort((one, other) => one.width - other.width)
}

/** Return the rendition for a width in device pixels: the smallest that is wide enough, or else the largest. */
function choose(image: Image, fitting: Rendition[], width: number): Rendition | undefined {
  const whole = fitting.find((each) => each.width >= width) ?? fitting.at(-1)
  return whole ?? image.renditions.find((each) => each.name === "thumbnail")
}

/** Widths of pictures that are made on request, in pixels. The last is the widest that the service makes. */
export const WIDTHS = [400, 800, 1600, 3200, 8192]

/**
 * Return the address of a picture that is made on request, if no rendition is as wide as wanted. It is undefined while
 * it is being signed, and where it cannot be.
 */
function useDelivered(image: Image, fitting: Rendition[], width: number): string | undefined {
  const [signed, setSigned] = useState<{ path: string; url: string }>()
  const rung = WIDTHS.find((each) => each >= width) ?? WIDTHS.at(-1)!
  const made = fitting.at(-1)?.width ?? 0
  const isWider = made < width && made < Math.min(rung, image.width ?? 0)
  const path = image.status === "succeeded" && isWider ? `w=${rung}/${image.uuid}.webp` : ""
  const isGuarded = Boolean(api.credential.value)
  const ask = async (signal: AbortSignal) => (path && isGuarded ? await api.signUrl(image.uuid, path, signal) : "")
  useAnswer(ask, (url) => setSigned(url ? { path, url: new URL(url, location.href).pathname } : undefined), [path])
  if (isGuarded) return signed?.path === path ? signed.url : undefined
  return path && `/i/unsafe/${path}`
}

/** A rendition's version: the same address has other bytes once its name is given another recipe. */
const version = (each: Rendition) => `${each.url}?${each.width}x${each.height}-${each.sizeBytes}`

function decodeHash(hash: string): string {
  try {
    return thumbHashToDataURL(Uint8Array.from(atob(hash), (each) => each.charCodeAt(0)))
  } catch {
    return ""
  }
}

/** Return a placeholder once it is made, in a task of its own, unless the picture is there before. */
function usePlaceholder(hash: string | null | undefined, isLoaded: boolean): string {
  const [made, setMade] = useState("")
  useEffect(() => {
    if (!hash || isLoaded) return
    const timer = setTimeout(() => setMade(decodeHash(hash)))
    return () => clearTimeout(timer)
  }, [hash, isLoaded])
  return made
}

/** Return an address for an image element. With a key, bytes are fetched first: an element sends no headers. */
function useSource(url: string | undefined): string | undefined {
  const [local, setLocal] = useState<string>()
  const isGuarded = Boolean(api.credential.value)
  useEffect(() => {
    if (!url || !isGuarded) return
    const controller = new AbortController()
    let made = ""
    api
      .send("GET", url, undefined, { signal: controller.signal })
      .then((response) => response.blob())
      .then((blob) => setLocal((made = URL.createObjectURL(blob))))
      .catch(() => undefined) // the placeholder stays
    return () => {
      controller.abort()
      setLocal(undefined)
      URL.revokeObjectURL(made)
    }
  }, [url, isGuarded])
  return isGuarded ? local : url
}

export function Picture({ image, width, alt }: { image: Image; /** In CSS pixels. */ width: number; alt: string }) {
  const fitting = proportional(image)
  const chosen = choose(image, fitting, width * devicePixelRatio)
  const preview = image.status === "succeeded" ? undefined : previews.get(image.uuid)?.url
  const source = useSource(chosen && version(chosen))
  const delivered = useDelivered(image, fitting, width * devicePixelRatio)
  const [refused, setRefused] = useState("")
  const shown = (delivered !== refused && delivered) || source || preview
  const element = useRef<HTMLImageElement>(null)
  const [loaded, setLoaded] = useState("")
  const background = usePlaceholder(image.metadata?.thumbHash, Boolean(loaded))
  useEffect(() => {
    if (element.current?.complete && element.current.naturalWidth && shown) setLoaded(shown)
  }, [shown])
  // While a picture is loading, the browser keeps its element in memory and the connection busy. An effect that follows
  // painting would come too late: in a quick scroll a tile may leave before it is painted.
  useLayoutEffect(() => () => element.current?.removeAttribute("src"), [])
  return (
    <span class="picture" style={background ? { backgroundImage: `url(${background})` } : {}}>
      {shown && (
        <img
          ref={element}
          src={shown}
          alt={alt}
          decoding="async"
          draggable={false}
          class={loaded ? "loaded" : ""}
          onLoad={() => setLoaded(shown)}
          onError={() => setRefused(shown)}
        />
      )}
    </span>
  )
}
