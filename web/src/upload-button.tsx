/** The buttons that choose files, a folder, or take a picture. */

import { useEffect, useRef } from "preact/hooks"
import { Icon } from "./icons"
import { messages } from "./messages"
import { enqueue } from "./uploads"

export function UploadButton({ isLarge = false }: { isLarge?: boolean }) {
  const t = messages.value.upload
  const files = useRef<HTMLInputElement>(null)
  const folder = useRef<HTMLInputElement>(null)
  const camera = useRef<HTMLInputElement>(null)
  const take = (input: HTMLInputElement) => {
    enqueue([...(input.files ?? [])].filter((each) => !each.name.startsWith(".")))
    input.value = ""
  }
  useEffect(() => folder.current?.setAttribute("webkitdirectory", ""), [])
  return (
    <span class="upload-buttons">
      <button type="button" class="button primary" onClick={() => files.current?.click()}>
        <Icon name="upload" />
        <span>{isLarge ? t.files : t.button}</span>
      </button>
      <button type="button" class="button camera" aria-label={t.camera} title={t.camera} onClick={() => camera.current?.click()}>
        <Icon name="camera" />
        {isLarge && <span>{t.camera}</span>}
      </button>
      <button type="button" class="button folder" aria-label={t.folder} title={t.folder} onClick={() => folder.current?.click()}>
        <Icon name="folder" />
        {isLarge && <span>{t.folder}</span>}
      </button>
      <input ref={files} type="file" multiple accept="image/*,.heic,.heif,.jxl,.tif,.tiff,.avif" hidden onChange={(event) => take(event.currentTarget)} />
      <input ref={camera} type="file" accept="image/*" capture="environment" hidden onChange={(event) => take(event.currentTarget)} />
      <input ref={folder} type="file" multiple hidden onChange={(event) => take(event.currentTarget)} />
    </span>
  )
}
