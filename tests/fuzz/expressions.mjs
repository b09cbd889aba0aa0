// Read regular expressions as JSON from standard input, and write those that are not linear, with an input that shows it.
// The argument is the folder whose packages have recheck.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

process.env.RECHECK_BACKEND = "pure"; // neither Java nor a binary
const { checkSync } = createRequire(`${process.argv[2]}/`)("recheck");

const found = JSON.parse(readFileSync(0, "utf8")).flatMap(({ place, source, flags }) => {
  const checked = checkSync(source, flags, { timeout: 60_000 });
  if (checked.status === "safe") return [];
  const { status, complexity, attack, error } = checked;
  return [{ place, source, status, complexity: complexity?.summary, attack: attack?.pattern, error }];
});
process.stdout.write(JSON.stringify(found, null, 2));
