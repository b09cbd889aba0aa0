/** The form of recipes, as the service's OpenAPI document describes it: which operations there are, with which fields. */

export type Value = string | number | boolean | null | Value[] | { [name: string]: Value }
export type Values = Record<string, Value>

type Common = {
  name: string
  /** What counts if it is left out. */
  initial: Value
  isRequired: boolean
  /** What a field that has to be given begins with. */
  start: Value
}
export type Field = Common &
  (
    | { type: "integer" | "number"; least: number | undefined; most: number | undefined }
    | { type: "flag" }
    | { type: "color"; pattern: string }
    | { type: "text"; longest: number | undefined }
    | { type: "image" }
    | { type: "choice"; choices: (string | number | boolean)[]; hasPoint: boolean }
    /** Anything that has no control of its own is written as JSON. */
    | { type: "json" }
  )

export interface Form {
  fields: Field[]
  /** In English. */
  about: string
}

export interface RecipeForm {
  operations: Map<string, Form>
  output: Form
}

interface Schema {
  type?: string
  format?: string
  enum?: (string | number)[]
  const?: string | number
  anyOf?: Schema[]
  $ref?: string
  default?: Value
  pattern?: string
  minItems?: number
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  maxLength?: number
  description?: string
  required?: string[]
  properties?: Record<string, Schema>
  discriminator?: { mapping: Record<string, string> }
  items?: Schema
}

/** What colors begin with that have to be given: a dark one, and then a light one, so that two of them show something. */
const COLORS = ["#336699", "#ffe3b0"] as const

/** Read what the document says of recipes. */
export function readForm(document: { components: { schemas: Record<string, Schema> } }): RecipeForm {
  const schemas = document.components.schemas
  const look = (reference: string) => schemas[reference.split("/").at(-1)!]!
  const properties = schemas["Recipe"]!.properties!
  const kinds = Object.entries(properties["operations"]!.items!.discriminator!.mapping)
  return {
    operations: new Map(kinds.map(([kind, reference]) => [kind, toForm(look(reference))])),
    output: toForm(look(properties["output"]!.$ref!)),
  }

  function toForm(schema: Schema): Form {
    const required = new Set(schema.required)
    const named = Object.entries(schema.properties ?? {}).filter(([name]) => name !== "kind")
    const fields = named.map(([name, each]) => toField(name, each, required.has(name)))
    // What has to be given comes first. Otherwise the order is the document's.
    fields.sort((one, other) => Number(other.isRequired) - Number(one.isRequired))
    fields.filter((each) => each.isRequired && each.type === "color").forEach((each, index) => (each.start = COLORS[index % COLORS.length]!))
    return { fields, about: (schema.description ?? "").replaceAll(/(?<!\n)\n(?!\n)/g, " ") }
  }

  function toField(name: string, schema: Schema, isRequired: boolean): Field {
    const options = (schema.anyOf ?? [schema]).filter((each) => each.type !== "null")
    const common = { name, initial: schema.default ?? null, isRequired, start: isRequired ? start(options[0]!) : null }
    let choices: (string | number | boolean)[] = options.flatMap((each) => each.enum ?? (each.const === undefined ? [] : [each.const]))
    let others = options.filter((each) => !each.enum && each.const === undefined)
    if (choices.length && others.some((each) => each.type === "boolean")) {
      choices = [false, true, ...choices]
      others = others.filter((each) => each.type !== "boolean")
    }
    if (choices.length && others.every((each) => isPoint(each)))
      return { ...common, type: "choice", choices, hasPoint: others.length > 0 }
    const [only, ...more] = others
    if (!only || more.length || choices.length) return { ...common, type: "json" }
    if (only.type === "integer" || only.type === "number")
      return { ...common, type: only.type, least: only.minimum ?? only.exclusiveMinimum, most: only.maximum }
    if (only.type === "boolean") return { ...common, type: "flag" }
    if (only.type === "string" && only.format === "uuid") return { ...common, type: "image" }
    if (only.type === "string" && only.pattern?.includes("transparent")) return { ...common, type: "color", pattern: only.pattern }
    if (only.type === "string" && !only.pattern) return { ...common, type: "text", longest: only.maxLength }
    return { ...common, type: "json" }
  }

  function isPoint(schema: Schema): boolean {
    const names = Object.keys((schema.$ref ? look(schema.$ref) : schema).properties ?? {})
    return names.join() === "x,y"
  }
}

function start(schema: Schema): Value {
  const [least, most] = [schema.minimum ?? schema.exclusiveMinimum ?? 0, schema.maximum ?? Infinity]
  if (schema.enum) return schema.enum[0]!
  if (schema.type === "integer") return Math.min(Math.max(least, 100), most)
  if (schema.type === "number") return Math.min(Math.max(least, 1), most)
  if (schema.type === "boolean") return false
  if (schema.type === "array") return Array.from({ length: schema.minItems ?? 0 }, () => start(schema.items!))
  return schema.pattern?.includes("transparent") ? COLORS[0] : "©"
}
