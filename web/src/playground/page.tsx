/** The recipe playground: build a recipe, see what it makes, and take it along as JSON or as URLs. */

import { useEffect, useRef, useState } from "preact/hooks"
import { useAnswer } from "../answers"
import * as api from "../api"
import { copy } from "../clipboard"
import { Icon, IconButton } from "../icons"
import * as library from "../library"
import { formatBytes, messages } from "../messages"
import { Modal } from "../modal"
import { Notice, Refusal } from "../notices"
import { Picture } from "../picture"
import { go, route } from "../route"
import { notify } from "../toasts"
import { UploadButton } from "../upload-button"
import { counts } from "../uploads"
import { Control, nameField, toWords } from "./controls"
import type { Form, Values } from "./schema"
import * as state from "./state"
import { byPreset, DIALECTS, type Dialect, NOTHING } from "./urls"

/** Options of the output that most people look for. The others are folded away. */
const COMMON_OUTPUT = ["format", "quality", "lossless"]

const nameKind = (kind: string) => messages.value.playground.kinds[kind] ?? toWords(kind)
/** The name of an operation, or of a field of one: `blur.sigma`. */
const nameSubject = (subject: string) =>
  subject
    .split(".")
    .map((each, index) => (index ? nameField(each) : each === "output" ? messages.value.playground.output : nameKind(each)))
    .join(" · ")

/** Say where in the form the service found something wrong, and what it takes there. */
function explain({ parameter, message }: Pick<api.ApiError, "parameter" | "message">): string {
  const t = messages.value.playground
  const [part, ...path] = parameter.split(".")
  const index = part === "operations" ? Number(path.shift()) : 0
  const kind = part === "output" ? part : state.steps.value[index]?.kind
  const form = kind && (part === "output" ? state.form.value!.output : state.form.value!.operations.get(kind))
  if (!form) return message
  const field = form.fields.find((each) => path.includes(each.name))
  const place = [part === "output" ? t.output : `${index + 1}. ${nameKind(kind)}`, ...(field ? [nameField(field.name)] : [])].join(" · ")
  const isNumber = field?.type === "integer" || field?.type === "number"
  return `${place}: ${isNumber ? t.between(field.least, field.most) : message.replace(/^[\w.]+: /, "")}`
}

export function PlaygroundPage() {
  const t = messages.value.playground
  const { image: uuid } = route.value
  const [isEmpty, setEmpty] = useState(false)
  const form = useAnswer(state.fetchForm, state.setForm, [])
  const receive = (found: api.Image | undefined) => {
    setEmpty(!found)
    if (found?.uuid === uuid) state.image.value = found
    else if (found) go({ ...route.peek(), image: found.uuid }, { replace: true })
  }
  const image = useAnswer((signal) => (uuid ? api.getImage(uuid, signal) : findNewest(signal)), receive, [uuid, counts.value.done])
  useEffect(() => state.watch(), [])
  const failure = form.failure || image.failure
  return (
    <>
      <div class="bar">
        <h1>{t.title}</h1>
        <p class="quiet">{t.about}</p>
        {state.image.value && <Picker />}
      </div>
      {failure && !api.isSignInNeeded.value && <Notice text={failure} retry={form.failure ? form.askAgain : image.askAgain} />}
      {isEmpty && (
        <div class="empty">
          <Icon name="image" />
          <h2>{t.noImages}</h2>
          <p>{t.noImagesHint}</p>
          <UploadButton isLarge />
        </div>
      )}
      {!state.image.value && !failure && !isEmpty && <p class="quiet loading">{messages.value.loading}</p>}
      {state.form.value && state.image.value && (
        <div class="playground">
          <section class="recipe" aria-label={t.recipe}>
            <Operations />
            <Output form={state.form.value.output} />
          </section>
          <div class="outcome">
            <Comparison />
            <Takeaway />
          </div>
        </div>
      )}
    </>
  )
}

const list = (search: string, limit: number, signal: AbortSignal) =>
  api.listImages({ collection: "", search, statuses: "succeeded", after: null, limit }, signal)

const findNewest = async (signal: AbortSignal) => (await list("", 1, signal)).items[0]

/** Choose the picture that the recipe is tried on. */
function Picker() {
  const t = messages.value.playground
  const [isOpen, setOpen] = useState(false)
  return (
    <>
      <button type="button" class="button" onClick={() => setOpen(true)}>
        <Icon name="image" />
        {t.otherImage}
      </button>
      {isOpen && <Choice onClose={() => setOpen(false)} />}
    </>
  )
}

function Choice({ onClose }: { onClose: () => void }) {
  const t = messages.value
  const [search, setSearch] = useState("")
  const [found, setFound] = useState<api.Image[]>([])
  const { failure } = useAnswer(async (signal) => (await list(search, 60, signal)).items, setFound, [search])
  const choose = (uuid: string) => {
    go({ ...route.peek(), image: uuid })
    onClose()
  }
  return (
    <Modal title={t.playground.otherImage} onClose={onClose}>
      <div class="form">
        <label>
          {t.search}
          <input type="search" maxLength={255} autocomplete="off" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        </label>
      </div>
      <Refusal text={failure} />
      <ul class="similar">
        {found.map((each) => (
          <li key={each.uuid}>
            <button type="button" aria-label={each.filename} title={each.filename} onClick={() => choose(each.uuid)}>
              <Picture image={each} width={80} alt="" />
            </button>
          </li>
        ))}
      </ul>
    </Modal>
  )
}

function Operations() {
  const t = messages.value.playground
  const kinds = [...state.form.value!.operations.keys()].sort((one, other) => nameKind(one).localeCompare(nameKind(other)))
  const [kind, setKind] = useState("resize")
  const list = useRef<HTMLOListElement>(null)
  const [added, setAdded] = useState(0)
  useEffect(() => {
    // What was added is what one goes on with.
    const step = list.current?.querySelector(`[data-step="${added}"]`)
    const control = step?.querySelector<HTMLElement>(".fields :is(input, select)") ?? step?.querySelector<HTMLElement>("button:enabled")
    control?.focus()
  }, [added])
  const count = state.steps.value.length
  const remove = (id: number, index: number) => {
    state.remove(id)
    const next = list.current?.querySelectorAll<HTMLElement>("fieldset")[Math.min(index, count - 2)]
    ;(next?.querySelector<HTMLElement>("button:enabled") ?? document.getElementById("kind"))?.focus()
  }
  return (
    <>
      <h2>{t.operations}</h2>
      {!count && <p class="quiet">{t.none}</p>}
      <ol ref={list} class="steps">
        {state.steps.value.map((step, index) => (
          <li key={step.id} data-step={step.id}>
            <fieldset>
              <legend>
                {index + 1}. {nameKind(step.kind)}
              </legend>
              <span class="tools">
                <IconButton name="up" label={t.earlier(nameKind(step.kind))} disabled={index === 0} onClick={() => state.move(step.id, -1)} />
                <IconButton name="down" label={t.later(nameKind(step.kind))} disabled={index === count - 1} onClick={() => state.move(step.id, 1)} />
                <IconButton name="close" label={t.remove(nameKind(step.kind))} onClick={() => remove(step.id, index)} />
              </span>
              <Fields form={state.form.value!.operations.get(step.kind)!} values={step.values} set={(field, value) => state.setValue(step.id, field, value)} />
            </fieldset>
          </li>
        ))}
      </ol>
      <form
        class="add"
        onSubmit={(event) => {
          event.preventDefault()
          setAdded(state.add(kind))
        }}
      >
        <label for="kind">{t.operation}</label>
        <select id="kind" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
          {kinds.map((each) => (
            <option key={each} value={each}>
              {nameKind(each)}
            </option>
          ))}
        </select>
        <button type="submit" class="button" disabled={count >= 20}>
          <Icon name="add" />
          {t.add}
        </button>
        <p class="quiet" lang="en">
          {withCode(state.form.value!.operations.get(kind)?.about ?? "")}
        </p>
      </form>
    </>
  )
}

/** Show what Markdown has between backticks as code. */
const withCode = (text: string) => text.split("`").map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))

type Set = Parameters<typeof Control>[0]["onChange"]

function Fields({ form, values, set }: { form: Form; values: Values; set: (field: Form["fields"][number], value: Parameters<Set>[0]) => void }) {
  return (
    <div class="fields">
      {form.fields.map((field) => (
        <Control key={field.name} field={field} value={values[field.name]} onChange={(value) => set(field, value)} />
      ))}
    </div>
  )
}

function Output({ form }: { form: Form }) {
  const t = messages.value.playground
  const common = form.fields.filter((each) => COMMON_OUTPUT.includes(each.name))
  const rare = form.fields.filter((each) => !COMMON_OUTPUT.includes(each.name))
  return (
    <>
      <h2>{t.output}</h2>
      <Fields form={{ ...form, fields: common }} values={state.output.value} set={state.setOutput} />
      <details>
        <summary>{t.more}</summary>
        <Fields form={{ ...form, fields: rare }} values={state.output.value} set={state.setOutput} />
      </details>
    </>
  )
}

function Comparison() {
  const t = messages.value.playground
  const image = state.image.value!
  const made = state.result.value
  const ratio = (image.width ?? 1) / (image.height ?? 1)
  const [size, setSize] = useState("")
  const isShown = made && !["image/tiff", "image/jxl"].includes(made.contentType)
  const facts = made && [isShown && size, made.contentType, formatBytes(made.bytes), t.milliseconds(Math.round(made.milliseconds))]
  return (
    <section aria-label={t.comparison}>
      <div class="comparison">
        <figure>
          <div class="canvas">
            <span class="whole" style={{ aspectRatio: `${ratio}`, "--ratio": `${ratio}` }}>
              <Picture image={image} width={800} alt={image.description || image.filename} />
            </span>
          </div>
          <figcaption>
            <strong>{t.before}</strong>
            <span class="quiet">
              {image.width} × {image.height} · {image.contentType} · {formatBytes(image.sizeBytes ?? 0)}
            </span>
          </figcaption>
        </figure>
        <figure class={state.isMaking.value ? "making" : ""}>
          <div class="canvas">
            {isShown && (
              <img src={made.url} alt={t.after} onLoad={(event) => setSize(`${event.currentTarget.naturalWidth} × ${event.currentTarget.naturalHeight}`)} />
            )}
            {made && !isShown && <p class="quiet">{t.notShown}</p>}
          </div>
          <figcaption>
            <strong>{t.after}</strong>
            <span class="quiet" role="status">
              {state.isMaking.value ? t.making : facts && facts.filter(Boolean).join(" · ")}
            </span>
          </figcaption>
        </figure>
      </div>
      <Refusal text={state.failure.value ? explain(state.failure.value) : ""} />
    </section>
  )
}

/** What one takes along: the recipe, and URLs. */
function Takeaway() {
  const t = messages.value.playground
  const recipe = state.recipe.value
  const uuid = state.image.value!.uuid
  const json = JSON.stringify(recipe, null, 2)
  return (
    <section aria-label={t.takeaway}>
      <h2>{t.takeaway}</h2>
      <Snippet name="JSON" text={json} />
      {DIALECTS.map((each) => (
        <Address key={each.name} dialect={each} uuid={uuid} />
      ))}
      <Keeping />
    </section>
  )
}

function Snippet({ name, text, note }: { name: string; text: string; note?: string }) {
  const t = messages.value.playground
  return (
    <div class="snippet">
      <h3>{name}</h3>
      <IconButton name="copy" label={t.copy(name)} onClick={() => void copy(text)} />
      <pre tabIndex={0} aria-label={name}>
        {text}
      </pre>
      {note && <p class="quiet">{note}</p>}
    </div>
  )
}

/** Wait until nothing has changed for a moment. */
const rest = (signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    setTimeout(() => (signal.aborted ? reject(signal.reason) : resolve()), 500)
  })

/** A URL in a dialect: signed if the service does that for the caller, else as it is where no signature is needed. */
function Address({ dialect, uuid }: { dialect: Dialect; uuid: string }) {
  const t = messages.value.playground
  const written = dialect.write(state.recipe.value, uuid)
  const path = "path" in written ? written.path : ""
  const [signed, setSigned] = useState<{ path: string; url: string }>()
  const ask = async (signal: AbortSignal) => {
    if (!path || dialect.prefix !== "/i/") return undefined
    await rest(signal)
    return { path, url: await api.signUrl(uuid, path, signal) }
  }
  useAnswer(ask, setSigned, [path, uuid, dialect.prefix]) // without keys the service signs nothing
  if ("cannot" in written)
    return (
      <div class="snippet">
        <h3>{dialect.name}</h3>
        <p class="quiet">{written.cannot === NOTHING ? t.cannotNothing : t.cannot(dialect.name, nameSubject(written.cannot))}</p>
      </div>
    )
  const url = signed?.path === path ? signed.url : ""
  const text = new URL(url || `${dialect.prefix}${dialect.unsigned}/${path}`, location.href).href
  return <Snippet name={dialect.name} text={text} {...(url ? {} : { note: t.unsigned })} />
}

/** Keep the recipe as a preset, or make the rendition for good: of this image and of those selected in the library. */
function Keeping() {
  const t = messages.value.playground
  const [failure, setFailure] = useState("")
  const [preset, setPreset] = useState("")
  const uuids = [...new Set([state.image.value!.uuid, ...library.selected.value])]
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const name = `${new FormData(event.currentTarget as HTMLFormElement).get("name")}`
    const named = { name, ...state.recipe.peek() }
    try {
      if (event.submitter?.id === "save-preset") {
        await api.savePreset(named)
        setPreset(name)
        notify(t.presetSaved(name))
      } else {
        for (const uuid of uuids) await api.orderRenditions(uuid, [named])
        notify(t.ordered(name, uuids.length))
      }
      setFailure("")
    } catch (error) {
      setFailure((error as Error).message)
    }
  }
  return (
    <>
    {preset && <Address dialect={byPreset(preset)} uuid={state.image.value!.uuid} />}
    <form class="add" onSubmit={submit}>
      <label for="rendition">{t.name}</label>
      <input id="rendition" name="name" required maxLength={64} pattern="[a-z0-9][a-z0-9_\-]*" title={t.nameHint} aria-describedby="name-hint" autocomplete="off" spellcheck={false} defaultValue="mine" />
      <span class="actions">
        <button type="submit" class="button">
          {t.order(uuids.length)}
        </button>
        <button type="submit" class="button" id="save-preset">
          {t.savePreset}
        </button>
      </span>
      <p class="quiet" id="name-hint">
        {t.nameHint}
      </p>
      <Refusal text={failure} />
    </form>
    </>
  )
}
