// Webhooks verified by the npm standardwebhooks library: signatures, a retry under one id, attempts.

import http from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { call, check, deferred, fresh, main, said, submitAll, waitingFor } from "./common.mjs";

const TASKS = 40;

/** A partner's server: `take(headers, body)` gives the status of each answer; what it throws goes to `failed`. */
async function receiver(take, failed) {
  const server = http.createServer(async (request, answer) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    try {
      answer.writeHead(take(request.headers, Buffer.concat(chunks).toString())).end();
    } catch (failure) {
      answer.writeHead(500).end();
      failed(failure);
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { url: `http://127.0.0.1:${server.address().port}/hook`, close: () => server.close() };
}

function refused(library, body, headers) {
  try {
    library.verify(body, headers);
  } catch {
    return true;
  }
  return false;
}

/** The event, once the signature holds and no change of body, id or time passes. */
function verify(library, headers, body) {
  const event = library.verify(body, headers);
  check(refused(library, body.replace("DONE", "GONE"), headers), "a tampered body was taken");
  check(refused(library, body, { ...headers, "webhook-id": "evt_other" }), "another webhook-id was taken");
  const past = String(Number(headers["webhook-timestamp"]) - 3600);
  check(refused(library, body, { ...headers, "webhook-timestamp": past }), "an old time was taken");
  check(event.id === headers["webhook-id"], "webhook-id is not the event's id");
  check(event.type === "task.done" && event.data.state === "DONE", `${event.type} in ${event.data.state}`);
  check(!("payload" in event.data), "an event carries the payload");
  return event;
}

/** The endpoint's attempts, once the log has `count`: it is written after the answer. */
async function attempts(url, path, count) {
  for (;;) {
    const page = await call(url, "GET", `${path}/attempts`, 200);
    check(page.next === null, "more than a page of attempts");
    if (page.attempts.length >= count) return page.attempts;
    await pause(50);
  }
}

await main(async (url) => {
  const channel = fresh("interop-webhooks");
  const all = deferred();
  const statuses = new Map();
  const delivered = new Set();
  let library;
  const partner = await receiver((headers, body) => {
    const event = verify(library, headers, body);
    // The first delivery of the first event fails.
    const status = statuses.size === 0 ? 500 : 200;
    statuses.set(event.id, [...(statuses.get(event.id) ?? []), status]);
    if (status === 200) delivered.add(event.data.id);
    if (delivered.size === TASKS) all.resolve();
    return status;
  }, all.reject);
  const endpoint = await call(url, "POST", "/v1/endpoints", 201, { url: partner.url, events: ["task.done"], channels: [channel] });
  const path = `/v1/endpoints/${endpoint.id}`;
  library = new Webhook(endpoint.secret);
  waitingFor(() => `${delivered.size} of ${TASKS} tasks were delivered, ${statuses.size} events came`);
  try {
    const tasks = Array.from({ length: TASKS }, (_, n) => ({ type: "echo", channel, payload: { n } }));
    const [ids] = await Promise.all([submitAll(url, tasks), all.promise]);
    check(ids.every((id) => delivered.has(id)), "other tasks came than were submitted");
    const retried = [...statuses.values()].filter((sent) => sent.length > 1);
    check(JSON.stringify(retried) === "[[500,200]]", `retried: ${JSON.stringify(retried)}`);
    said(`${statuses.size} events delivered; signatures hold, changes do not; the 500 was retried under the same webhook-id`);
    waitingFor(() => `fewer than ${TASKS + 1} attempts are in the log`);
    const logged = await attempts(url, path, TASKS + 1);
    check(logged.length === TASKS + 1, `${logged.length} attempts are logged, ${TASKS + 1} were made`);
    check(logged.filter((one) => one.status === "failed").length === 1, "not one failed attempt is logged");
    said(`${logged.length} attempts are logged`);
  } finally {
    await fetch(url + path, { method: "DELETE" });
    partner.close();
  }
});
