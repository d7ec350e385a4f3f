// A small client: submit with an idempotency key, wait by long poll, follow events by EventSource, which resumes.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { EventSource } from "eventsource";

const FINAL = ["DONE", "FAILED", "CANCELLED", "EXPIRED"];
const LATER = [408, 429, 502, 503, 504];
const KINDS = ["running", "progress", "retrying", "done", "failed", "cancelled", "expired"].map((kind) => `task.${kind}`);

/** A problem document: decide by `code`. */
export class Refused extends Error {
  constructor(problem) {
    super(`${problem.title}: ${problem.detail}`);
    Object.assign(this, { status: problem.status, code: problem.code, errors: problem.errors ?? [] });
  }
}

export class Posthaste {
  constructor(url, key) {
    this.url = url;
    this.headers = key ? { authorization: `Bearer ${key}` } : {};
  }

  /** Stores a task. The key makes it safe to send again, so it is sent until there is an answer. */
  async submit(task, idempotencyKey = randomUUID()) {
    const headers = { "content-type": "application/json", "idempotency-key": `"${idempotencyKey}"` };
    return (await this.#again("/v1/tasks", { method: "POST", headers, body: JSON.stringify(task) })).json();
  }

  /** The task once it has ended; a poll is answered at the next change, so nothing is asked twice. */
  async wait(id, timeoutMs = 300_000) {
    const end = Date.now() + timeoutMs;
    for (let etag; Date.now() < end; ) {
      const wait = Math.max(1, Math.min(60, Math.floor((end - Date.now()) / 1000)));
      const answer = await this.#again(`/v1/tasks/${id}?wait=${wait}`, { headers: etag ? { "if-none-match": etag } : {} });
      if (answer.status === 304) continue;
      etag = answer.headers.get("etag");
      const task = await answer.json();
      if (FINAL.includes(task.state)) return task;
    }
    throw new Error(`${id} has not ended`);
  }

  /**
   * Calls `each(event, cursor)` for every event, over any number of connections: EventSource comes back by itself with the
   * last id. Keep the cursor to go on after a restart. In a browser give `?token=` of `POST /v1/stream-tokens` instead of
   * the header. Returns what to `close()`.
   */
  follow(filters, each, onReset = (oldest) => console.warn(`events before ${oldest} are no longer kept`)) {
    const withKey = (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...this.headers } });
    const source = new EventSource(`${this.url}/v1/events?${new URLSearchParams(filters)}`, { fetch: withKey });
    for (const kind of KINDS) source.addEventListener(kind, (message) => each(JSON.parse(message.data), message.lastEventId));
    source.addEventListener("reset", (message) => onReset(JSON.parse(message.data).oldest));
    return source;
  }

  /** Sends what is safe to repeat until it is answered, with back-off or after as long as the server asks. */
  async #again(path, options, tries = 6) {
    for (let attempt = 0; ; attempt += 1) {
      const last = attempt === tries - 1;
      let waitMs = 200 * 2 ** attempt;
      try {
        const answer = await fetch(this.url + path, { ...options, headers: { ...this.headers, ...options.headers } });
        if (answer.ok || answer.status === 304) return answer;
        if (!LATER.includes(answer.status) || last) throw new Refused(await answer.json());
        waitMs = Math.max(waitMs, 1000 * Number(answer.headers.get("retry-after") ?? 0));
      } catch (error) {
        // fetch reports a broken connection as a TypeError.
        if (!(error instanceof TypeError) || last) throw error;
      }
      await sleep(waitMs);
    }
  }
}
