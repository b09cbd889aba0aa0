/** One image, large, with what is known of it. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import { useAnswer } from "./answers"
import * as api from "./api"
import { describe, type Image, type Rendition } from "./api"
import { Attempts } from "./attempts"
import { copy } from "./clipboard"
import { choosing, CollectionLink } from "./collections"
import { focusOn } from "./grid"
import { Heading } from "./heading"
import { Icon, IconButton, type IconName } from "./icons"
import * as library from "./library"
import { formatBytes, formatNumber, formatTime, messages } from "./messages"
import { Refusal } from "./notices"
import { Picture, proportional } from "./picture"
import { follow, go, hrefTo, route } from "./route"
import { Sharing, sharing } from "./sharing"
import { Toasts } from "./toast-list"
import { watched } from "./watch"
import { showPixels, view, Zoom, zoomByKey } from "./zoom"

export function Viewer({ uuid }: { uuid: string }) {
  const t = messages.value
  const dialog = useRef<HTMLDialogElement>(null)
  const list = library.shown.value
  const index = list.findIndex((each) => each.uuid === uuid)
  const image = watched.value?.uuid === uuid ? watched.value : list[index]

  const { failure, askAgain } = useAnswer((signal) => api.getImage(uuid, signal), (found) => (watched.value = found), [uuid])
  useEffect(() => {
    if (index >= list.length - 5) void library.loadMore()
  }, [index])
  useLayoutEffect(() => {
    dialog.current?.showModal()
    return () => (watched.value = sharing.value = null)
  }, [])

  const close = () => {
    go({ ...route.peek(), image: "" }, { replace: true })
    focusOn(uuid)
  }
  const neighbor = (step: number) => (index < 0 ? undefined : list[index + step])
  const move = (step: number) => {
    const other = neighbor(step)
    if (other) go({ ...route.peek(), image: other.uuid }, { replace: true })
  }
  const remove = () => {
    const other = neighbor(1) ?? neighbor(-1)
    library.remove([uuid])
    if (other) go({ ...route.peek(), image: other.uuid }, { replace: true })
    else close()
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const forward = document.dir === "rtl" ? "ArrowLeft" : "ArrowRight"
    const isInField = event.target instanceof Element && event.target.closest("input, textarea, select")
    if (isInField && event.key !== "Escape") return
    if (event.key === "1") showPixels(image?.width ?? 0)
    else if (zoomByKey(event.key)) event.preventDefault()
    else if (event.key.startsWith("Arrow") && !["ArrowLeft", "ArrowRight"].includes(event.key)) return
    else if (event.key === forward) move(1)
    else if (event.key.startsWith("Arrow")) move(-1)
    else if (event.key === "Delete") remove()
    else if (event.key === "Escape") close()
    else return
    event.preventDefault()
  }

  return (
    <dialog ref={dialog} class="viewer" aria-label={t.viewer.label(image?.filename ?? "")} onKeyDown={onKeyDown} onCancel={(event) => event.preventDefault()}>
      <div class="stage">
        {image ? <Stage key={uuid} image={image} /> : <p class="quiet">{failure || t.loading}</p>}
        <IconButton name="close" class="floating close" label={t.close} onClick={close} />
        {neighbor(-1) && <IconButton name="back" class="floating previous" label={t.viewer.previous} onClick={() => move(-1)} />}
        {neighbor(1) && <IconButton name="forward" class="floating next" label={t.viewer.next} onClick={() => move(1)} />}
        {image?.status === "succeeded" && (image.width ?? 0) > 480 && (
          <button
            type="button"
            class="icon-button floating pixels"
            aria-label={t.viewer.pixels}
            title={t.viewer.pixels}
            onClick={() => showPixels(image.width!)}
          >
            1:1
          </button>
        )}
      </div>
      <aside class="details" aria-label={t.viewer.info} tabIndex={0}>
        {failure && (
          <p class="refusal" role="alert">
            {failure}{" "}
            <button type="button" class="link" onClick={askAgain}>
              {t.retry}
            </button>
          </p>
        )}
        {image && <Details image={image} reload={askAgain} onRemove={remove} />}
      </aside>
      {sharing.value && <Sharing image={sharing.value} />}
      <Toasts />
    </dialog>
  )
}

function Stage({ image }: { image: Image }) {
  const t = messages.value
  if (image.status === "failed")
    return (
      <div class="failed-stage">
        <Icon name="failed" />
        <p>{t.viewer.failed}</p>
        <p class="quiet">{describe(image.error)}</p>
      </div>
    )
  const ratio = (image.width ?? 1) / (image.height ?? 1)
  const largest = proportional(image).at(-1)
  return (
    <Zoom>
      <div
        class={`frame ${image.status === "succeeded" ? "" : "working"}`}
        style={{ aspectRatio: `${ratio}`, "--ratio": `${ratio}`, "--most": `${largest?.width ?? Math.min(image.width ?? 480, 480)}px` }}
      >
        <Picture image={image} width={Math.min(innerWidth * 0.75 * view.value.scale, image.width ?? Infinity)} alt={image.description || image.filename} />
        {image.status !== "succeeded" && <span class="works" />}
      </div>
    </Zoom>
  )
}

function Details({ image, reload, onRemove }: { image: Image; reload: () => void; onRemove: () => void }) {
  const t = messages.value
  const facts = t.viewer.facts
  const about = image.metadata
  const [failure, setFailure] = useState("")
  const attempt = (work: Promise<void>) => {
    setFailure("")
    work.then(reload, (error: Error) => setFailure(error.message))
  }
  const size = [image.width && `${image.width} × ${image.height}`, image.sizeBytes && formatBytes(image.sizeBytes)]
  const camera = [about?.cameraMake, about?.cameraModel].filter(Boolean).join(" ")
  const rows: [string, string | null | undefined | false][] = [
    [facts.size, size.filter(Boolean).join(" · ")],
    [facts.type, image.contentType],
    [facts.captured, about?.capturedAt && formatTime(about.capturedAt)],
    [facts.created, formatTime(image.createdAt)],
    [facts.camera, camera],
    [facts.lens, about?.lensModel],
    [facts.colors, about && `${about.profile ?? about.colorSpace} · ${facts.bits(about.bitDepth)}`],
    [facts.frames, about && about.frames > 1 && formatNumber(about.frames)],
  ]
  const hashes = [
    ["SHA-256", image.sha256],
    [facts.perceptualHash, about?.perceptualHash],
    ["ThumbHash", about?.thumbHash],
    ["BlurHash", about?.blurHash],
  ] as const
  const isSmall = image.status === "succeeded" && proportional(image).every((each) => each.width < Math.min(700, image.width ?? 0))
  return (
    <>
      <Heading key={image.uuid} image={image}>
        <div class="actions">
          {image.status === "succeeded" && (
            <>
              <Action icon="save" text={t.viewer.actions.original} label={t.viewer.original} act={() => attempt(saveOriginal(image))} />
              <Action icon="share" text={t.viewer.actions.share} label={t.viewer.share} act={() => (sharing.value = image)} />
              <a
                class="button"
                href={hrefTo({ view: "playground", image: image.uuid })}
                aria-label={t.viewer.tryRecipes}
                title={t.viewer.tryRecipes}
                onClick={(event) => follow(event, { view: "playground", image: image.uuid })}
              >
                <Icon name="recipe" />
                {t.viewer.actions.recipes}
              </a>
            </>
          )}
          <Action icon="folder" text={t.viewer.actions.collection} label={t.viewer.addTo} act={() => (choosing.value = [image.uuid])} />
          <Action icon="remove" text={t.viewer.remove} label={t.viewer.remove} act={onRemove} isDanger />
        </div>
      </Heading>
      <Refusal text={failure} />
      {image.status === "failed" && (
        <p class="refusal">
          {describe(image.error)}{" "}
          <button type="button" class="link" onClick={() => attempt(api.retryImage(image.uuid))}>
            {t.retry}
          </button>
        </p>
      )}
      <dl>
        {rows.map(([name, text]) => text && (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{text}</dd>
          </div>
        ))}
        <div>
          <dt>{t.viewer.collection}</dt>
          <dd>
            {image.collectionId ? <CollectionLink uuid={image.collectionId} /> : t.viewer.noCollection}
          </dd>
        </div>
      </dl>
      {about && about.palette.length > 0 && (
        <section>
          <h3>{t.viewer.palette}</h3>
          <div class="palette">
            {about.palette.map(({ color, share }) => (
              <button
                key={color}
                type="button"
                title={color}
                aria-label={t.viewer.copyColor(color)}
                style={{ backgroundColor: color, flexGrow: `${Math.max(share, 0.06)}` }}
                onClick={() => void copy(color)}
              />
            ))}
          </div>
        </section>
      )}
      {image.renditions.length > 0 && (
        <section>
          <h3>{t.viewer.renditions}</h3>
          <ul class="renditions">
            {image.renditions.map((each) => (
              <li key={each.name}>
                <span class="name">{each.name}</span>
                <span class="quiet">
                  {each.width} × {each.height} · {formatBytes(each.sizeBytes)}
                </span>
                {!api.credential.value && (
                  <IconButton name="copy" label={t.viewer.copy(each.name)} onClick={() => void copy(new URL(each.url, location.href).href)} />
                )}
                <IconButton name="save" label={t.viewer.save(each.name)} onClick={() => attempt(save(each.url, nameRendition(image, each)))} />
              </li>
            ))}
          </ul>
          {isSmall && image.pendingRenditions.length === 0 && (
            <button type="button" class="button" onClick={() => attempt(api.orderRenditions(image.uuid))}>
              {t.viewer.makeLarger}
            </button>
          )}
          {image.pendingRenditions.length > 0 && <p class="quiet">{t.viewer.ordered}</p>}
          {image.failedRenditions.map((each) => (
            <p key={each.name} class="refusal">
              {each.name}: {describe(each.error)}
            </p>
          ))}
        </section>
      )}
      <Attempts key={image.uuid} image={image} />
      {image.status === "succeeded" && <Similar key={image.uuid} uuid={image.uuid} />}
      {image.sha256 && (
        <dl>
          {hashes.map(([name, text]) => text && (
            <div key={name} class="wide">
              <dt>{name}</dt>
              <dd class="hash">{text}</dd>
            </div>
          ))}
        </dl>
      )}
    </>
  )
}

/** A button with a word below its icon. Its name says more. */
function Action({ icon, text, label, act, isDanger = false }: { icon: IconName; text: string; label: string; act: () => void; isDanger?: boolean }) {
  return (
    <button type="button" class={isDanger ? "button danger" : "button"} aria-label={label} title={label} onClick={act}>
      <Icon name={icon} />
      {text}
    </button>
  )
}

function Similar({ uuid }: { uuid: string }) {
  const [found, setFound] = useState<Image[]>([])
  useAnswer((signal) => api.listSimilar(uuid, signal), setFound, [uuid])
  if (!found.length) return null
  return (
    <section>
      <h3>{messages.value.viewer.similar}</h3>
      <ul class="similar">
        {found.map((each) => (
          <li key={each.uuid}>
            <a
              href={hrefTo({ ...route.value, image: each.uuid })}
              aria-label={each.filename}
              title={each.filename}
              onClick={(event) => follow(event, { ...route.value, image: each.uuid })}
            >
              <Picture image={each} width={80} alt="" />
            </a>
          </li>
        ))}
      </ul>
    </section>
  )
}

function nameRendition(image: Image, { name, contentType }: Rendition): string {
  const stem = image.filename.replace(/\.[^.]*$/, "")
  return `${stem}-${name}.${contentType.split("/")[1]?.replace("jpeg", "jpg")}`
}

/** The browser saves it by itself, under the name that the service gives. With a key, its bytes are fetched first. */
async function saveOriginal(image: Image): Promise<void> {
  const url = `/api/v1/images/${image.uuid}/original`
  if (api.credential.peek()) await save(url, image.filename)
  else click(url, "")
}

async function save(url: string, name: string): Promise<void> {
  const blob = await (await api.send("GET", url)).blob()
  const local = URL.createObjectURL(blob)
  click(local, name)
  setTimeout(() => URL.revokeObjectURL(local), 10_000)
}

function click(url: string, name: string): void {
  const link = document.createElement("a")
  link.href = url
  link.download = name
  link.click()
}
