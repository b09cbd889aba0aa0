/** Addresses of an image to give away: alone, for a page, or for a text. */

import { signal as toSignal } from "@preact/signals"
import { useState } from "preact/hooks"
import { useAnswer } from "./answers"
import * as api from "./api"
import type { Image } from "./api"
import { copy } from "./clipboard"
import { Icon } from "./icons"
import { formatDuration, messages } from "./messages"
import { Modal } from "./modal"
import { Refusal } from "./notices"
import { WIDTHS } from "./picture"

/** The image whose addresses are shown. */
export const sharing = toSignal<Image | null>(null)

const FORMS = ["address", "img", "picture", "markdown"] as const
type Form = (typeof FORMS)[number]
/** For `<picture>`, best first. The last is for the browsers that know none of the others. */
const FORMATS = ["avif", "webp", "jpg"]
const DAY = 86_400
const LIFETIMES = [DAY, 7 * DAY, 30 * DAY, 365 * DAY]

/** Return widths that an image has, the largest first. */
function widthsOf(image: Image): number[] {
  const own = Math.min(image.width ?? 0, WIDTHS.at(-1)!)
  return [own, ...WIDTHS.filter((each) => each < own).reverse()]
}

/** What comes before the options in an address: the host, and a signature if callers need one. */
type Prefix = { signed: string } | { prefix: string }

/** Ask for one signature for all addresses that a form needs. Where anyone may call, none is needed. */
async function authorize(image: Image, form: Form, width: number, seconds: number, signal: AbortSignal): Promise<Prefix> {
  if (!api.credential.peek()) return { prefix: new URL("/i/unsafe", location.href).href }
  const isMany = form === "img" || form === "picture"
  const order = isMany
    ? { capability: { widths: widthsOf(image).filter((each) => each <= width), formats: ["auto", ...FORMATS] } }
    : { options: `w=${width}`, format: "auto" }
  const { url, token } = await api.sign(image.uuid, { ...order, expiresIn: seconds }, signal)
  const whole = new URL(url, location.href).href
  return token ? { prefix: `${whole.split("/i/")[0]}/i/${token}` } : { signed: whole }
}

const escape = (text: string) => text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`)

function write(image: Image, form: Form, width: number, given: Prefix): string {
  const at = (wide: number, format: string) => ("signed" in given ? given.signed : `${given.prefix}/w=${wide}/${image.uuid}.${format}`)
  const widths = widthsOf(image).filter((each) => each <= width).reverse()
  const all = (format: string) => widths.map((each) => `${at(each, format)} ${each}w`).join(", ")
  const height = Math.round((width * (image.height ?? 1)) / (image.width ?? 1))
  const text = image.description || image.filename
  const size = `width="${width}" height="${height}" alt="${escape(text)}"`
  const sizes = `sizes="(max-width: ${width}px) 100vw, ${width}px"`
  switch (form) {
    case "address":
      return at(width, "auto")
    case "markdown":
      return `![${text.replace(/[\\[\]]/g, "\\$&").replace(/\s+/g, " ")}](${at(width, "auto")})`
    case "img":
      return `<img src="${at(width, "auto")}"\n  srcset="${all("auto")}"\n  ${sizes} ${size}>`
    case "picture": {
      const sources = FORMATS.slice(0, -1).map((each) => `  <source type="image/${each}" srcset="${all(each)}" ${sizes}>\n`)
      return `<picture>\n${sources.join("")}  <img src="${at(width, "jpg")}" ${size}>\n</picture>`
    }
  }
}

export function Sharing({ image }: { image: Image }) {
  const t = messages.value.sharing
  const widths = widthsOf(image)
  const [form, setForm] = useState<Form>("address")
  const [width, setWidth] = useState(widths.find((each) => each <= 1600) ?? widths[0]!)
  const [seconds, setSeconds] = useState(LIFETIMES[1]!)
  const [written, setWritten] = useState({ order: "", text: "" })
  const order = [image.uuid, form, width, seconds].join()
  const text = written.order === order ? written.text : "" // never that of an earlier choice
  const ask = async (signal: AbortSignal) => ({ order, text: write(image, form, width, await authorize(image, form, width, seconds, signal)) })
  const { failure, code } = useAnswer(ask, setWritten, [order])
  return (
    <Modal title={t.title} onClose={() => (sharing.value = null)}>
      <div class="fields">
        <label class="field">
          {t.form}
          <select value={form} onChange={(event) => setForm(event.currentTarget.value as Form)}>
            {FORMS.map((each) => (
              <option key={each} value={each}>
                {t.forms[each]}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          {t.width}
          <select value={width} onChange={(event) => setWidth(Number(event.currentTarget.value))}>
            {widths.map((each) => (
              <option key={each} value={each}>
                {each} px
              </option>
            ))}
          </select>
        </label>
        {api.credential.value && (
          <label class="field">
            {t.lifetime}
            <select value={seconds} onChange={(event) => setSeconds(Number(event.currentTarget.value))}>
              {LIFETIMES.map((each) => (
                <option key={each} value={each}>
                  {formatDuration(each)}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      <p class="quiet">{api.credential.value ? t.signed : t.open}</p>
      <div class="snippet">
        <pre tabIndex={0} aria-label={t.title}>
          {text}
        </pre>
      </div>
      <Refusal text={failure} />
      <button type="button" class="button primary" disabled={!text} onClick={() => void copy(text)}>
        <Icon name="copy" />
        {code === "permission_missing" ? t.impossible : t.copy}
      </button>
    </Modal>
  )
}
