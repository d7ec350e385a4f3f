// Submit, repeat, wait, follow, resume: what `posthaste.mjs` is for.

import assert from "node:assert";
import { randomUUID } from "node:crypto";
import { Posthaste, Refused } from "./posthaste.mjs";

const client = new Posthaste(process.env.POSTHASTE_URL ?? "http://127.0.0.1:8080", process.env.POSTHASTE_KEY);
const channel = `tour-${randomUUID()}`;

const task = { type: "text.stats", payload: { text: "more haste, less speed" }, channel };
const first = await client.submit(task, channel);
const again = await client.submit(task, channel);
assert.equal(first.id, again.id, "one key is one task");
const done = await client.wait(first.id);
assert.equal(done.state, "DONE");
console.log("result:", done.result);

const ids = new Set([first.id]);
for (let n = 0; n < 20; n += 1) ids.add((await client.submit({ type: "echo", payload: n, channel })).id);

/** Ids of the next tasks that end, and the cursor after them. */
function ends(cursor, wanted) {
  return new Promise((resolve) => {
    const found = [];
    const source = client.follow({ channel, cursor }, (event, after) => {
      if (event.type !== "task.done" || found.length === wanted) return;
      found.push(event.data.id);
      if (found.length === wanted) {
        source.close();
        resolve([found, after]);
      }
    });
  });
}

// Half of them, then the rest on a new connection, as after a restart of this program.
const [half, cursor] = await ends("earliest", 10);
const [rest] = await ends(cursor, ids.size - 10);
assert.deepEqual(new Set([...half, ...rest]), ids, "none is missing");
assert.equal(half.length + rest.length, ids.size, "none comes twice");
console.log(`${half.length} and ${rest.length} results over two connections`);

await assert.rejects(client.submit({ type: "Not A Type" }), (error) => {
  assert(error instanceof Refused);
  console.log("refused:", error.code, error.errors);
  return true;
});
