// Measure sharp: node sharp.mjs FILE SECONDS FOLDER, with the cases of harness.py.
import { readFileSync, writeFileSync } from "node:fs";
import sharp from "sharp";

sharp.concurrency(1);
sharp.cache(false);

const SIZES = [[100, "cover"], [800, "inside"], [1600, "inside"]];
const QUALITY = { jpeg: 82, webp: 80 };
const [file, seconds, folder] = process.argv.slice(2);
const data = readFileSync(file);

const render = (side, fit, to) =>
  sharp(data)
    .rotate()
    .resize(side, side, { fit, withoutEnlargement: fit === "inside" })
    [to]({ quality: QUALITY[to] })
    .toBuffer();

const peak = () => Number(readFileSync("/proc/self/status", "utf8").match(/VmHWM:\s+(\d+)/)[1]) / 1024;

for (const [side, fit] of SIZES) {
  for (const to of ["jpeg", "webp"]) {
    const rendition = await render(side, fit, to);
    writeFileSync(`${folder}/${side}-${fit}.${to}`, rendition);
    writeFileSync("/proc/self/clear_refs", "5"); // reset the peak memory
    let best = Infinity;
    const end = Date.now() + seconds * 1000;
    for (let runs = 0; runs < 2 || Date.now() < end; runs++) {
      const before = process.cpuUsage();
      await render(side, fit, to);
      const spent = process.cpuUsage(before);
      best = Math.min(best, (spent.user + spent.system) / 1000);
    }
    console.log(JSON.stringify({ case: `${side} ${fit} ${to}`, ms: best, mib: peak(), bytes: rendition.length }));
  }
}
