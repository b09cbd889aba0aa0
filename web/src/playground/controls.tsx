/** One control for each field of the form, by its type. */

import { useId, useState } from "preact/hooks"
import { messages } from "../messages"
import type { Field, Value } from "./schema"

interface Props {
  field: Field
  value: Value | undefined
  onChange: (value: Value) => void
}

/** A name of the API in words: `cropToRatio` becomes "Crop to ratio". */
export function toWords(name: string): string {
  const words = name.replaceAll(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`)
  return words.charAt(0).toUpperCase() + words.slice(1)
}

export function nameField(name: string): string {
  return messages.value.playground.fields[name] ?? toWords(name)
}

export function Control({ field, value, onChange }: Props) {
  const id = useId()
  const label = nameField(field.name)
  const current = value ?? field.initial
  if (field.type === "flag")
    return (
      <label class="flag">
        <input type="checkbox" checked={current === true} onChange={(event) => onChange(event.currentTarget.checked)} />
        {label}
      </label>
    )
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <Input id={id} label={label} field={field} value={current} onChange={onChange} />
    </div>
  )
}

function Input({ id, label, field, value, onChange }: Props & { id: string; label: string }) {
  switch (field.type) {
    case "integer":
    case "number":
      return (
        <NumberInput
          id={id}
          value={value ?? null}
          least={field.least}
          most={field.most}
          isWhole={field.type === "integer"}
          isRequired={field.isRequired}
          onChange={onChange}
        />
      )
    case "choice":
      return <Choice id={id} label={label} field={field} value={value ?? null} onChange={onChange} />
    case "color":
      return <Color id={id} label={label} value={`${value ?? ""}`} pattern={field.pattern} isRequired={field.isRequired} onChange={onChange} />
    case "json":
      return <Json id={id} value={value ?? null} onChange={onChange} />
    default:
      return (
        <input
          id={id}
          value={`${value ?? ""}`}
          required={field.isRequired}
          maxLength={field.type === "text" ? field.longest : 36}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => onChange(event.currentTarget.value || (field.isRequired ? "" : null))}
        />
      )
  }
}

interface NumberProps {
  id?: string
  label?: string
  value: Value
  least: number | undefined
  most: number | undefined
  isWhole: boolean
  isRequired: boolean
  onChange: (value: Value) => void
}

function NumberInput({ id, label, value, least, most, isWhole, isRequired, onChange }: NumberProps) {
  const span = (most ?? 100) - (least ?? 0)
  return (
    <input
      id={id}
      aria-label={label}
      type="number"
      inputMode={isWhole ? "numeric" : "decimal"}
      value={typeof value === "number" ? value : ""}
      min={least}
      max={most}
      step={isWhole ? 1 : span <= 10 ? 0.05 : 0.5}
      required={isRequired}
      onInput={(event) => {
        const typed = event.currentTarget.valueAsNumber
        if (!Number.isNaN(typed)) onChange(typed)
        else if (!isRequired) onChange(null)
      }}
    />
  )
}

const POINT = "point"

function Choice({ id, label, field, value, onChange }: Props & { id: string; label: string; field: Field & { type: "choice" }; value: Value }) {
  const t = messages.value.playground
  const point = typeof value === "object" && value !== null && !Array.isArray(value) ? value : null
  const choose = (text: string) => {
    if (text === POINT) onChange({ x: 0.5, y: 0.5 })
    else onChange(field.choices.find((each) => `${each}` === text) ?? null)
  }
  return (
    <>
      <select id={id} value={point ? POINT : `${value ?? ""}`} onChange={(event) => choose(event.currentTarget.value)}>
        {field.initial === null && !field.isRequired && <option value="">{t.usual}</option>}
        {field.choices.map((each) => (
          <option key={`${each}`} value={`${each}`}>
            {t.choices[`${each}`] ?? `${each}`}
          </option>
        ))}
        {field.hasPoint && <option value={POINT}>{t.point}</option>}
      </select>
      {point && (
        <span class="pair">
          {(["x", "y"] as const).map((axis) => (
            <NumberInput
              key={axis}
              label={`${label} ${axis}`}
              value={point[axis] ?? 0.5}
              least={0}
              most={1}
              isWhole={false}
              isRequired
              onChange={(share) => onChange({ ...point, [axis]: share })}
            />
          ))}
        </span>
      )}
    </>
  )
}

function Color({ id, label, value, pattern, isRequired, onChange }: { id: string; label: string; value: string; pattern: string; isRequired: boolean; onChange: (value: Value) => void }) {
  const isPlain = /^#[0-9a-f]{6}$/i.test(value)
  return (
    <span class="pair color">
      <input
        id={id}
        dir="ltr"
        value={value}
        required={isRequired}
        pattern={pattern.replace(/^\^|\$$/g, "")}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => onChange(event.currentTarget.value || (isRequired ? "" : null))}
      />
      <input
        type="color"
        aria-label={messages.value.playground.pick(label)}
        value={isPlain ? value : "#000000"}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    </span>
  )
}

function Json({ id, value, onChange }: { id: string; value: Value; onChange: (value: Value) => void }) {
  const [isWrong, setWrong] = useState(false)
  const read = (text: string) => {
    try {
      onChange(text.trim() ? (JSON.parse(text) as Value) : null)
      setWrong(false)
    } catch {
      setWrong(true)
    }
  }
  return (
    <input
      id={id}
      defaultValue={value === null ? "" : JSON.stringify(value)}
      placeholder="JSON"
      aria-invalid={isWrong}
      autocomplete="off"
      spellcheck={false}
      onInput={(event) => read(event.currentTarget.value)}
    />
  )
}
