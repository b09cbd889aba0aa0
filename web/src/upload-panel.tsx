/** The queue of uploads, at the edge of the page. It stays open while one browses. */

import { useSignal } from "@preact/signals"
import { Icon, IconButton } from "./icons"
import { messages } from "./messages"
import { go, route } from "./route"
import { clearFinished, counts, dismiss, isPaused, retry, togglePause, uploads, type Upload } from "./uploads"

/** More rows would only slow the page down. The counts tell of all. */
const MAX_ROWS = 200
const ORDER = { failed: 0, refused: 0, uploading: 1, processing: 2, duplicate: 3, waiting: 4, done: 5 }

export function UploadPanel() {
  const t = messages.value.upload
  const isMinimized = useSignal(false)
  if (!uploads.value.length) return null
  const { open, done, failed, duplicates } = counts.value
  const rows = [...uploads.value].sort((one, other) => ORDER[one.stage] - ORDER[other.stage]).slice(0, MAX_ROWS)
  const whole = uploads.value.reduce((sum, each) => sum + (each.stage === "waiting" || each.stage === "uploading" ? each.progress : 1), 0)
  return (
    <section class="uploads" aria-label={t.panel}>
      <header>
        <div>
          <h2>{t.panel}</h2>
          <p class="quiet" role="status">
            {t.summary(open, done, failed, duplicates)}
            {isPaused.value && ` · ${t.paused}`}
          </p>
        </div>
        {done + failed + duplicates > 0 && (
          <button type="button" class="link" onClick={clearFinished}>
            {t.clear}
          </button>
        )}
        {(open > 0 || isPaused.value) && (
          <IconButton name={isPaused.value ? "play" : "pause"} label={isPaused.value ? t.resume : t.pause} onClick={togglePause} />
        )}
        <IconButton
          name={isMinimized.value ? "up" : "down"}
          label={isMinimized.value ? t.expand : t.minimize}
          onClick={() => (isMinimized.value = !isMinimized.value)}
        />
      </header>
      {open > 0 && <progress class="whole" aria-label={t.panel} max={1} value={whole / uploads.value.length} />}
      {!isMinimized.value && (
        <ul tabIndex={0} aria-label={t.panel}>
          {rows.map((each) => (
            <UploadRow key={each.id} upload={each} />
          ))}
        </ul>
      )}
    </section>
  )
}

function UploadRow({ upload }: { upload: Upload }) {
  const t = messages.value.upload
  const { file, stage, progress, reason, uuid } = upload
  const hasFailed = stage === "failed" || stage === "refused"
  const text = {
    waiting: t.waiting,
    uploading: reason || t.uploading(Math.round(progress * 100)),
    processing: t.processing,
    done: t.done,
    failed: reason,
    refused: reason,
    duplicate: t.duplicate(reason),
  }[stage]
  return (
    <li class={`upload ${stage}`}>
      <span class="mark" aria-hidden="true">
        {hasFailed ? <Icon name="failed" /> : stage === "done" ? <Icon name="check" /> : <Icon name="image" />}
      </span>
      <span class="name">{file.name}</span>
      <span class="state">{text}</span>
      {stage === "uploading" && <progress max={1} value={progress} aria-label={t.progress(file.name)} />}
      <span class="do">
        {stage === "failed" && <IconButton name="retry" label={t.retry(file.name)} onClick={() => retry(upload.id)} />}
        {stage === "duplicate" && <IconButton name="upload" label={t.anyway(file.name)} onClick={() => retry(upload.id)} />}
        {(stage === "done" || stage === "duplicate") && uuid && (
          <IconButton name="image" label={t.open(file.name)} onClick={() => go({ ...route.peek(), image: uuid })} />
        )}
        {(stage === "waiting" || stage === "uploading" || stage === "duplicate" || hasFailed) && (
          <IconButton
            name="close"
            label={hasFailed || stage === "duplicate" ? t.dismiss(file.name) : t.cancel(file.name)}
            onClick={() => dismiss(upload.id)}
          />
        )}
      </span>
    </li>
  )
}
