// What the JavaScript programs share: arguments, checks, the HTTP side of Posthaste, a time bound.

import { randomUUID } from "node:crypto";
import { basename } from "node:path";
import { parseArgs } from "node:util";

const RUN_S_MAX = 55;

export class Failed extends Error {}

export function check(holds, otherwise) {
  if (!holds) throw new Failed(otherwise);
}

export function said(text) {
  console.log(`  ${text}`);
}

let describe = () => "at the beginning";

/** What is waited for from here on; `text()` is told when the time is up. */
export function waitingFor(text) {
  describe = text;
}

/** Runs `run(url)` for at most RUN_S_MAX seconds; exit code 1 and one clear line if a check fails. */
export async function main(run) {
  const { values } = parseArgs({ options: { url: { type: "string", default: "http://127.0.0.1:8080" } } });
  console.log(basename(process.argv[1]));
  const began = performance.now();
  let timer;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failed(`not done after ${RUN_S_MAX} s: ${describe()}`)), RUN_S_MAX * 1000);
  });
  try {
    await Promise.race([run(values.url), tooLong]);
    said(`done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    process.exit(0);
  } catch (failure) {
    console.error(`  FAILED: ${failure instanceof Failed ? failure.message : failure.stack}`);
    process.exit(1);
  } finally {
    clearTimeout(timer);
  }
}

/** A name that no earlier run used. */
export const fresh = (prefix) => `${prefix}-${randomUUID().slice(0, 13)}`;

/** A promise with its `resolve` and `reject`. */
export function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

/** One request whose status must be `expect`; the body where there is one. */
export async function call(url, method, path, expect, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  check(answer.status === expect, `${method} ${path} answered ${answer.status}: ${text.slice(0, 300)}`);
  return text ? JSON.parse(text) : null;
}

/** The ids of the submitted tasks, in order; in batches of at most 100. */
export async function submitAll(url, tasks) {
  const ids = [];
  for (let start = 0; start < tasks.length; start += 100) {
    const answer = await call(url, "POST", "/v1/tasks/batch", 202, { tasks: tasks.slice(start, start + 100) });
    const refused = answer.tasks.filter((task) => task.error);
    check(refused.length === 0, `a batch refused ${refused.length} tasks: ${JSON.stringify(refused[0])}`);
    ids.push(...answer.tasks.map((task) => task.id));
  }
  return ids;
}
