/**
 * URLs that deliver what a recipe makes, in each dialect that can say it.
 *
 * What a recipe leaves open, such as the quality, is as the dialect has it. A dialect has an order of its own in which
 * it applies things, so a recipe in another order has no URL there.
 */

import type { Value, Values } from "./schema"

export interface Recipe {
  operations: ({ kind: string } & Values)[]
  output: Values
}

/** A path without its signature, or what the dialect cannot say. */
export type Written = { path: string } | { cannot: string }

export interface Dialect {
  name: string
  prefix: string
  /** What stands for a signature where none is needed. */
  unsigned: string
  write: (recipe: Recipe, uuid: string) => Written
}

/** What cannot be said of a recipe that does nothing. */
export const NOTHING = ""

class Unsaid extends Error {}

/** Say what an operation or an option becomes. A step that comes too late, or twice, throws. */
type Step = (given: Reader) => string[]

/** Reads an operation's parameters. One that nobody reads, and that is not as usual, cannot be said. */
class Reader {
  private readonly left: Set<string>

  constructor(
    readonly subject: string,
    private readonly values: Values,
  ) {
    this.left = new Set(Object.keys(values).filter((name) => name !== "kind" && values[name] !== null))
  }

  value(name: string, usual: Value): Value {
    this.left.delete(name)
    return this.values[name] ?? usual
  }

  /** A value of the same type as the usual one. */
  get(name: string, usual: string): string
  get(name: string, usual: number): number
  get(name: string, usual: boolean): boolean
  get(name: string, usual: Value): Value {
    return this.value(name, usual)
  }

  number(name: string): number | undefined {
    return (this.value(name, null) as number | null) ?? undefined
  }

  /** A parameter that may only be as usual. */
  expect(name: string, usual: Value): void {
    if (this.value(name, usual) !== usual) throw new Unsaid(`${this.subject}.${name}`)
  }

  refuse(name: string): never {
    throw new Unsaid(`${this.subject}.${name}`)
  }

  close(): void {
    for (const name of this.left) this.refuse(name)
  }
}

/** Write the operations by steps that a dialect applies in a fixed order. */
function inOrder(recipe: Recipe, order: Record<string, Step>): string[] {
  const kinds = Object.keys(order)
  const said: string[] = []
  let last = -1
  for (const each of recipe.operations) {
    const place = kinds.indexOf(each.kind)
    if (place <= last) throw new Unsaid(each.kind)
    last = place
    said.push(...read(each.kind, each, order[each.kind]!))
  }
  return said
}

function read(subject: string, values: Values, step: Step): string[] {
  const reader = new Reader(subject, values)
  const said = step(reader)
  reader.close()
  return said
}

function attempt(write: () => string): Written {
  try {
    return { path: write() }
  } catch (error) {
    if (error instanceof Unsaid) return { cannot: error.message }
    throw error
  }
}

/** Turns by quarters, as an angle between 0 and 360. */
function quarter(given: Reader): number {
  const angle = (given.get("angle", 0) + 360) % 360
  given.expect("background", "transparent")
  return angle % 90 === 0 ? angle : given.refuse("angle")
}

/** An opaque color as six digits, without its sign. */
function digits(given: Reader, name: string, usual: string): string {
  const color = given.get(name, usual).replace(/^#([0-9a-f])([0-9a-f])([0-9a-f])$/i, "#$1$1$2$2$3$3")
  return /^#[0-9a-f]{6}$/i.test(color) ? color.slice(1) : given.refuse(name)
}

const EXTENSIONS: Record<string, string> = { jpeg: "jpg" }
const extension = (format: string) => EXTENSIONS[format] ?? format

const own: Dialect = {
  name: "/i/",
  prefix: "/i/",
  unsigned: "unsafe",
  write: (recipe, uuid) =>
    attempt(() => {
      const said = inOrder(recipe, {
        trim: (given) => [`trim=${given.get("threshold", 10)}`],
        crop: (given) => [`crop=${["left", "top", "width", "height"].map((each) => given.get(each, 0)).join(":")}`],
        rotate: (given) => {
          const angle = quarter(given)
          return angle ? [`rotate=${angle}`] : []
        },
        flop: () => ["flip=h"],
        flip: () => ["flip=v"],
        resize: (given) => {
          const gravity = given.value("gravity", "center")
          const place = typeof gravity === "object" && gravity !== null ? Object.values(gravity).join(":") : gravity
          const isTransparent = given.get("background", "transparent") === "transparent"
          given.expect("linear", false)
          return [
            ...(["width", "height"] as const).map((each) => [each[0], given.number(each)] as const).flatMap(([name, side]) => (side ? [`${name}=${side}`] : [])),
            `fit=${given.get("fit", "cover")}`,
            ...(place === "center" ? [] : [`gravity=${place}`]),
            ...(given.get("enlarge", true) ? ["enlarge=1"] : []),
            ...(isTransparent ? [] : [`bg=${digits(given, "background", "")}`]),
          ]
        },
        blur: (given) => [`blur=${given.number("sigma")}`],
        sharpen: (given) => [`sharpen=${given.get("sigma", 0.5)}`],
      })
      const both = said.indexOf("flip=h")
      if (both >= 0 && said.includes("flip=v")) said.splice(both, 2, "flip=hv")
      let format = ""
      said.push(
        ...read("output", recipe.output, (given) => {
          const wanted = given.get("format", "source")
          if (wanted === "auto") given.refuse("format") // there it depends on the caller
          format = wanted === "source" ? "" : `.${extension(wanted)}`
          const quality = given.number("quality")
          return [...(quality ? [`q=${quality}`] : []), ...(given.get("lossless", false) ? ["lossless=1"] : [])]
        }),
      )
      if (!said.length) throw new Unsaid(NOTHING) // options may not be empty
      return `${said.join(",")}/${uuid}${format}`
    }),
}

const COMPASS: Record<string, string> = {
  center: "ce",
  north: "no",
  south: "so",
  east: "ea",
  west: "we",
  northeast: "noea",
  northwest: "nowe",
  southeast: "soea",
  southwest: "sowe",
  smart: "sm",
}
const IMGPROXY_TYPES: Record<string, string> = { inside: "fit", cover: "fill", fill: "force" }

const imgproxy: Dialect = {
  name: "imgproxy",
  prefix: "/imgproxy/",
  unsigned: "insecure",
  write: (recipe, uuid) =>
    attempt(() => {
      const said = inOrder(recipe, {
        rotate: (given) => {
          const angle = quarter(given)
          return angle ? [`rotate:${angle}`] : []
        },
        flop: () => ["flip:1:0"],
        flip: () => ["flip:0:1"],
        crop: (given) => {
          const [left, top, width, height] = ["left", "top", "width", "height"].map((each) => given.get(each, 0))
          return [`crop:${width}:${height}:nowe:${left}:${top}`]
        },
        resize: (given) => {
          const type = IMGPROXY_TYPES[given.get("fit", "cover")] ?? given.refuse("fit")
          const gravity = given.value("gravity", "center")
          const place = typeof gravity === "string" ? COMPASS[gravity] : `fp:${Object.values(gravity as Values).join(":")}`
          given.expect("background", "transparent")
          given.expect("linear", false)
          const size = [given.number("width") ?? 0, given.number("height") ?? 0].join(":")
          return [`resize:${type}:${size}:${given.get("enlarge", true) ? 1 : 0}`, ...(place === "ce" || type !== "fill" ? [] : [`gravity:${place}`])]
        },
        blur: (given) => [`blur:${given.number("sigma")}`],
        sharpen: (given) => [`sharpen:${given.get("sigma", 0.5)}`],
        pixelate: (given) => [`pixelate:${given.number("size")}`],
        flatten: (given) => [`background:${digits(given, "background", "#ffffff")}`],
      })
      const both = said.indexOf("flip:1:0")
      if (both >= 0 && said.includes("flip:0:1")) said.splice(both, 2, "flip:1:1")
      let format = ""
      said.push(
        ...read("output", recipe.output, (given) => {
          const wanted = given.get("format", "source")
          if (wanted === "auto") given.refuse("format")
          format = wanted === "source" ? "" : `@${extension(wanted)}`
          const [quality, most] = [given.number("quality"), given.number("maxBytes")]
          const metadata = given.get("metadata", "strip")
          return [
            ...(quality ? [`quality:${quality}`] : []),
            ...(most ? [`max_bytes:${most}`] : []),
            ...{ strip: ["keep_copyright:0"], copyright: [], keep: ["strip_metadata:0"] }[metadata as "strip"],
            ...(given.get("profile", "srgb") === "keep" ? ["strip_color_profile:0"] : []),
          ]
        }),
      )
      return [...said, "plain", `${uuid}${format}`].join("/")
    }),
}

const ACROSS: Record<string, string> = { west: "left", east: "right" }
const DOWN: Record<string, string> = { north: "top", south: "bottom" }

/** The parts of a URL of thumbor, which come in a fixed order. Filters keep theirs. */
class ThumborUrl {
  crop = ""
  fit = ""
  width = ""
  height = ""
  place: string[] = []
  flop = ""
  flip = ""
  filters: string[] = []

  resize(given: Reader): string[] {
    const fit = given.get("fit", "cover")
    const enlarges = given.get("enlarge", true)
    const gravity = given.value("gravity", "center")
    const isTransparent = given.get("background", "transparent") === "transparent"
    given.expect("linear", false)
    this.width = `${given.number("width") ?? ""}`
    this.height = `${given.number("height") ?? ""}`
    if (fit === "cover") this.place = placeByWords(given, gravity)
    if (fit === "fill") this.filters.push("stretch()")
    if (fit === "contain") this.filters.push(`fill(${isTransparent ? "transparent" : digits(given, "background", "")})`)
    else if (!isTransparent) given.refuse("background")
    if (fit === "inside" || fit === "contain") this.fit = enlarges ? given.refuse("enlarge") : "fit-in"
    else if (fit === "outside") this.fit = enlarges ? "full-fit-in" : given.refuse("enlarge")
    else if (!enlarges) this.filters.push("no_upscale()")
    return []
  }

  write(uuid: string): string {
    const hasSize = this.width || this.height || this.flop || this.flip
    const size = hasSize ? `${this.flop}${this.width}x${this.flip}${this.height}` : ""
    const filters = this.filters.length ? `filters:${this.filters.join(":")}` : ""
    return [...[this.crop, this.fit, size, ...this.place, filters].filter(Boolean), uuid].join("/")
  }
}

function placeByWords(given: Reader, gravity: Value): string[] {
  if (typeof gravity !== "string") return given.refuse("gravity")
  if (gravity === "smart") return ["smart"]
  const across = Object.keys(ACROSS).find((each) => gravity.endsWith(each))
  const down = Object.keys(DOWN).find((each) => gravity.startsWith(each))
  return [across && ACROSS[across], down && DOWN[down]].filter((each) => each !== undefined)
}

const thumbor: Dialect = {
  name: "thumbor",
  prefix: "/thumbor/",
  unsigned: "unsafe",
  write: (recipe, uuid) =>
    attempt(() => {
      const url = new ThumborUrl()
      const geometry: Record<string, Step> = {
        crop: (given) => {
          const [left, top, width, height] = ["left", "top", "width", "height"].map((each) => given.get(each, 0))
          url.crop = `${left}x${top}:${left! + width!}x${top! + height!}`
          return []
        },
        resize: (given) => url.resize(given),
        flop: () => ((url.flop = "-"), []),
        flip: () => ((url.flip = "-"), []),
      }
      const effects: Record<string, Step> = {
        blur: (given) => [`blur(1,${given.number("sigma")})`],
        grayscale: (given) => (given.get("model", "light") === "luma" ? ["grayscale()"] : given.refuse("model")),
        rotate: (given) => [`rotate(${(360 - quarter(given)) % 360})`], // counter-clockwise there
        flatten: (given) => [`background_color(${digits(given, "background", "#ffffff")})`],
      }
      const isGeometric = (each: { kind: string }) => each.kind in geometry
      const first = recipe.operations.findIndex((each) => !isGeometric(each))
      const shape = first < 0 ? recipe.operations : recipe.operations.slice(0, first)
      inOrder({ ...recipe, operations: shape }, geometry)
      for (const each of recipe.operations.slice(shape.length)) {
        const effect = effects[each.kind]
        if (!effect) throw new Unsaid(each.kind)
        url.filters.push(...read(each.kind, each, effect))
      }
      url.filters.push(
        ...read("output", recipe.output, (given) => {
          const wanted = given.get("format", "source")
          if (["auto", "tiff", "jxl"].includes(wanted)) given.refuse("format")
          const [quality, most] = [given.number("quality"), given.number("maxBytes")]
          given.get("progressive", true) // it always is there
          given.expect("metadata", "strip")
          return [
            ...(wanted === "source" ? [] : [`format(${wanted})`]),
            ...(quality ? [`quality(${quality})`] : []),
            ...(most ? [`max_bytes(${most})`] : []),
            ...(given.get("profile", "srgb") === "srgb" ? ["strip_icc()"] : []),
          ]
        }),
      )
      return url.write(uuid)
    }),
}

export const DIALECTS = [own, imgproxy, thumbor]

/** Whatever a recipe does, its preset has a URL. */
export const byPreset = (name: string): Dialect => ({ ...own, name: `/i/ ${name}`, write: (_recipe, uuid) => ({ path: `${name}/${uuid}` }) })
