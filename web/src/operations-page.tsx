/** The page for operators: one screen that says whether the service is well, and what to do if not. */

import { useRef, useState } from "preact/hooks"
import type { ComponentChildren } from "preact"
import * as api from "./api"
import { Icon, IconButton } from "./icons"
import { formatDuration, formatNumber, formatTime, messages } from "./messages"
import { Refusal } from "./notices"
import * as operations from "./operations"
import type { DeadLetter, Redriven, RedriveOrder, Summary, Trouble } from "./operations"
import { follow, hrefTo } from "./route"
import { notify } from "./toasts"

export function OperationsPage() {
  const t = messages.value.operations
  const { failure, isPaused, seenAt, summary } = operations
  const isForbidden = failure.value?.status === 403 || failure.value?.status === 401
  return (
    <div class="operations">
      <div class="bar">
        <h1>{t.title}</h1>
        {seenAt.value && !isForbidden && <p class="quiet">{t.asOf(formatClock(seenAt.value))}</p>}
        <IconButton
          name={isPaused.value ? "play" : "pause"}
          label={isPaused.value ? t.resume : t.pause}
          onClick={() => (isPaused.value = !isPaused.value)}
        />
      </div>
      {isForbidden ? (
        <div class="empty">
          <Icon name="failed" />
          <h2>{t.forbidden}</h2>
          <p>{t.forbiddenHint}</p>
          <button type="button" class="button primary" onClick={() => (api.isSignInNeeded.value = true)}>
            {t.otherKey}
          </button>
        </div>
      ) : (
        <>
          <Verdict />
          {summary.value && <Cards state={summary.value} />}
        </>
      )}
    </div>
  )
}

const formatClock = (time: Date) => new Intl.DateTimeFormat(messages.value.locale, { timeStyle: "medium" }).format(time)

function Verdict() {
  const t = messages.value.operations
  const found = operations.troubles.value
  const isKnown = operations.summary.value !== null || found.length > 0
  const isDown = found.some(({ kind }) => kind === "unreachable" || kind === "partial")
  const mark = !isKnown ? "" : isDown ? "down" : found.length ? "attention" : "well"
  return (
    <section class={`verdict ${mark}`} role="status" aria-label={t.verdict}>
      <Icon name={mark === "well" ? "check" : mark ? "failed" : "retry"} />
      <div>
        <p class="large">{!isKnown ? messages.value.loading : isDown ? t.down : found.length ? t.attention : t.well}</p>
        {found.map((each) => (
          <p key={each.kind}>{describe(each)}</p>
        ))}
      </div>
    </section>
  )
}

function describe(trouble: Trouble): string {
  const t = messages.value.operations
  if (trouble.kind === "unreachable") return `${operations.failure.value?.message ?? ""} ${t.trouble.unreachable}`
  if (trouble.kind === "partial") {
    const names = operations.PARTS.filter((each) => operations.failing.value?.[each] !== undefined).map((each) => t.parts[each])
    return t.trouble.partial(new Intl.ListFormat(messages.value.locale).format(names))
  }
  return "seconds" in trouble ? t.trouble[trouble.kind](formatDuration(trouble.seconds)) : t.trouble[trouble.kind](trouble.count)
}

function Card({ title, children, size }: { title: string; children: ComponentChildren; size?: "double" | "whole" }) {
  return (
    <section class={`card ${size ?? ""}`} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  )
}

function Facts({ facts }: { facts: [name: string, value: string | null | undefined][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value ?? "–"}</dd>
        </div>
      ))}
    </dl>
  )
}

function Cards({ state }: { state: Summary }) {
  const t = messages.value.operations
  const { images, lastHour, reconciliation } = state
  const duration = (seconds: number | null | undefined) => (seconds == null ? null : formatDuration(seconds))
  const made = lastHour.ended.filter((each) => each.outcome === "succeeded").reduce((sum, each) => sum + each.count, 0)
  const perMinute = operations.perMinute.value
  const seconds = lastHour.publishSeconds
  return (
    <div class="cards">
      <Card title={t.backlog}>
        <Facts
          facts={[
            [t.facts.pending, formatNumber(images.pending)],
            [t.facts.processing, formatNumber(images.processing)],
            [t.facts.oldestPending, duration(state.oldestPendingSeconds)],
            [t.facts.oldestProcessing, duration(state.oldestProcessingSeconds)],
          ]}
        />
        <Trend />
      </Card>
      <Card title={t.throughput}>
        <Facts
          facts={[
            [t.facts.perMinute, perMinute === null ? null : formatNumber(perMinute, perMinute < 10 ? 1 : 0)],
            [t.facts.lastHour, formatNumber(made)],
            [t.facts.half, duration(seconds?.p50)],
            [t.facts.most, duration(seconds?.p99)],
          ]}
        />
      </Card>
      <Card title={t.dependencies}>
        <ul class="parts">
          {operations.PARTS.map((each) => {
            const sentence = operations.failing.value?.[each]
            const mark = operations.failing.value === null ? "" : sentence === undefined ? "well" : "down"
            return (
              <li key={each} class={mark}>
                <Icon name={mark === "well" ? "check" : mark ? "failed" : "retry"} />
                <span class="name">{t.parts[each]}</span>
                <span class="state">{!mark ? t.unknown : sentence === undefined ? t.responds : t.outOfReach}</span>
                {sentence && (
                  <span class="detail" lang="en" dir="ltr">
                    {sentence}
                  </span>
                )}
              </li>
            )
          })}
        </ul>
      </Card>
      <Card title={t.images}>
        <Facts
          facts={[
            [t.facts.succeeded, formatNumber(images.succeeded)],
            [t.facts.failed, formatNumber(images.failed)],
            [t.facts.awaiting, formatNumber(images.awaiting_upload)],
          ]}
        />
        <a class="link" href={hrefTo({ filter: "failed" })} onClick={(event) => follow(event, { filter: "failed" })}>
          {t.showFailed}
        </a>
      </Card>
      <Card title={t.failures}>
        <Failures ended={lastHour.ended} />
      </Card>
      <Card title={t.drift}>
        <p class="quiet">
          {reconciliation.lastRunAt ? t.reconciled(formatTime(reconciliation.lastRunAt)) : t.neverReconciled}{" "}
          {t.runs(reconciliation.runs, reconciliation.failedRuns)}
        </p>
        <Table
          empty={t.noDrift}
          label={t.drift}
          heads={[t.repair, t.count, t.lastAt]}
          rows={[...reconciliation.repairs]
            .sort((one, other) => (one.lastAt < other.lastAt ? 1 : -1))
            .map((each) => [each.kind, [t.repairs[each.kind] ?? each.kind, formatNumber(each.total), formatTime(each.lastAt)]])}
        />
      </Card>
      <Card title={t.redrive} size="double">
        <Redrive />
      </Card>
      <Card title={t.deadLetters} size="whole">
        <DeadLetters total={state.deadLetters.total} />
      </Card>
    </div>
  )
}

/** Pending images since the page was opened. */
function Trend() {
  const samples = operations.samples.value
  const most = Math.max(...samples.map((each) => each.open), 1)
  const last = samples.at(-1)!
  const from = samples[0]!.at
  const span = Math.max(last.at - from, 1)
  const points = samples.map(({ at, open }) => `${((at - from) / span) * 100},${30 - (open / most) * 28}`).join(" ")
  const label = messages.value.operations.trend(most === 1 && last.open === 0 ? 0 : most, formatDuration(span / 1000))
  return (
    <svg class="trend" viewBox="0 0 100 31" preserveAspectRatio="none" role="img" aria-label={label}>
      <polyline points={samples.length > 1 ? points : `0,${30 - (last.open / most) * 28} 100,${30 - (last.open / most) * 28}`} />
    </svg>
  )
}

interface TableProps {
  label: string
  heads: string[]
  rows: [key: string, cells: ComponentChildren[]][]
  empty: string
}

function Table({ label, heads, rows, empty }: TableProps) {
  if (!rows.length) return <p class="quiet">{empty}</p>
  return (
    <div class="scroller" tabIndex={0} role="group" aria-label={label}>
      <table>
        <thead>
          <tr>
            {heads.map((each) => (
              <th key={each} scope="col">
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([key, cells]) => (
            <tr key={key}>
              {cells.map((each, index) => (
                <td key={index}>{each}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Failures({ ended }: { ended: Summary["lastHour"]["ended"] }) {
  const t = messages.value.operations
  return (
    <Table
      empty={t.noFailures}
      label={t.failures}
      heads={[t.reason, t.outcome, t.count]}
      rows={ended
        .filter((each) => each.outcome !== "succeeded")
        .map(({ outcome, reason, count }) => [
          `${outcome} ${reason}`,
          [<code key="reason">{reason ?? "–"}</code>, t.outcomes[outcome] ?? outcome, formatNumber(count)],
        ])}
    />
  )
}

function DeadLetters({ total }: { total: number }) {
  const t = messages.value.operations
  const [refusal, setRefusal] = useState("")
  const [asked, setAsked] = useState("")
  const list = useRef<HTMLDivElement>(null)
  const discard = (id: string) => {
    setRefusal("")
    operations.discard(id).then(
      () => {
        notify(t.discarded)
        list.current?.focus() // the button is gone
      },
      (error: Error) => setRefusal(error.message),
    )
  }
  const found = operations.letters.value
  return (
    <div ref={list} tabIndex={-1} class="dead-letters">
      <p class="quiet">{t.deadLettersHint}</p>
      <Refusal text={refusal} />
      <Table
        empty={t.noDeadLetters}
        label={t.deadLetters}
        heads={[t.received, t.reason, t.status, t.image, t.action]}
        rows={found.map((each) => [
          each.id,
          [
            formatTime(each.receivedAt),
            each.reason,
            each.statusCode ?? "–",
            <ImageLink key="image" letter={each} />,
            <button
              key="discard"
              type="button"
              class={`link ${asked === each.id ? "danger" : ""}`}
              onClick={() => (asked === each.id ? discard(each.id) : setAsked(each.id))}
              onBlur={() => setAsked("")}
            >
              {asked === each.id ? t.confirmDiscard : t.discard}
            </button>,
          ],
        ])}
      />
      {total > found.length && <p class="quiet">{t.newest(found.length, total)}</p>}
    </div>
  )
}

function ImageLink({ letter }: { letter: DeadLetter }) {
  if (!letter.image) return <>–</>
  const target = { view: "operations", image: letter.image } as const
  return (
    <a href={hrefTo(target)} onClick={(event) => follow(event, target)}>
      <code>{letter.image.slice(0, 8)}</code>
    </a>
  )
}

/** Count first, then retry what was counted. Any change of the order asks for a new count. */
function Redrive() {
  const t = messages.value.operations
  const [codes, setCodes] = useState<readonly string[]>(operations.OUTSIDE_CODES)
  const [since, setSince] = useState("")
  const [until, setUntil] = useState("")
  const [counted, setCounted] = useState<Redriven | null>(null)
  const [outcome, setOutcome] = useState("")
  const [refusal, setRefusal] = useState("")
  const [isBusy, setBusy] = useState(false)
  const order: RedriveOrder = { codes: [...codes], failedSince: toMoment(since), failedUntil: toMoment(until) }
  const reset = () => {
    setCounted(null)
    setOutcome("")
    setRefusal("")
  }
  const toggle = (code: string) => {
    reset()
    setCodes(codes.includes(code) ? codes.filter((each) => each !== code) : [...codes, code])
  }
  const run = (dryRun: boolean) => {
    reset()
    setBusy(true)
    operations
      .redrive(order, { dryRun })
      .then(
        (done) => {
          if (dryRun) setCounted(done)
          else {
            setOutcome(t.redriven(done.images, done.mayHaveMore))
            void operations.look()
          }
        },
        (error: Error) => setRefusal(error.message),
      )
      .finally(() => setBusy(false))
  }
  const choice = (code: string) => (
    <label key={code}>
      <input type="checkbox" checked={codes.includes(code)} onChange={() => toggle(code)} />
      <code>{code}</code>
    </label>
  )
  return (
    <form
      class="redrive"
      onSubmit={(event) => {
        event.preventDefault()
        run(true)
      }}
    >
      <fieldset>
        <legend>{t.codes}</legend>
        {operations.OUTSIDE_CODES.map(choice)}
        <details>
          <summary>{t.otherCodes}</summary>
          {operations.OTHER_CODES.map(choice)}
        </details>
      </fieldset>
      <div class="period">
        <label>
          {t.since}
          <input type="datetime-local" value={since} onInput={(event) => (reset(), setSince(event.currentTarget.value))} />
        </label>
        <label>
          {t.until}
          <input type="datetime-local" value={until} onInput={(event) => (reset(), setUntil(event.currentTarget.value))} />
        </label>
      </div>
      <div class="actions">
        <button type="submit" class="button" disabled={isBusy || !codes.length}>
          {t.countFirst}
        </button>
        {counted && counted.images > 0 && (
          <button type="button" class="button primary" disabled={isBusy} onClick={() => run(false)}>
            {t.retryNow(counted.images)}
          </button>
        )}
      </div>
      <p role="status">{counted ? t.wouldRetry(counted.images, counted.mayHaveMore) : outcome}</p>
      <Refusal text={refusal} />
    </form>
  )
}

const toMoment = (local: string) => (local ? new Date(local).toISOString() : null)
