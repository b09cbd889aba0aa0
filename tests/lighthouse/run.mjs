// Print Lighthouse's scores of a page, and what cost points, as JSON. Arguments: the page, and mobile or desktop.
// CHROME_PATH names the browser.

import { launch } from "chrome-launcher"
import lighthouse, { desktopConfig } from "lighthouse"

const [url, device] = process.argv.slice(2)
const browser = await launch({ chromeFlags: ["--headless=new", "--no-sandbox", "--disable-gpu"] })
try {
  const flags = { port: browser.port, logLevel: "error", onlyCategories: ["performance", "accessibility", "best-practices"] }
  const { lhr } = await lighthouse(url, flags, device === "desktop" ? desktopConfig : undefined)
  const scores = Object.fromEntries(Object.values(lhr.categories).map(({ id, score }) => [id, Math.round(score * 100)]))
  const weak = Object.values(lhr.audits).filter(({ score }) => score !== null && score < 0.9)
  console.log(JSON.stringify({ scores, weak: weak.map(({ id, score, displayValue }) => ({ id, score, displayValue })) }))
} finally {
  browser.kill()
}
