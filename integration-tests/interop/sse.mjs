// Server-Sent Events read by the npm EventSource, which reconnects by itself, over a proxy that cuts the connection:
// no event is missing, none comes twice; the stream of a task ends for good with the task.

import net from "node:net";
import { EventSource } from "eventsource";
import { call, check, deferred, fresh, main, said, submitAll, waitingFor } from "./common.mjs";

const TASKS = 2000;
const CUTS = 6;
const KINDS = ["running", "progress", "retrying", "done", "failed", "cancelled", "expired"].map((kind) => `task.${kind}`);

/** A TCP proxy that destroys each of its first `cuts` connections after a random number of bytes of the answer. */
async function cuttingProxy(target, cuts) {
  const { hostname, port } = new URL(target);
  const proxy = { cutsLeft: cuts, cutsDone: 0 };
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port || 80), hostname);
    let budget = proxy.cutsLeft > 0 ? 40_000 + Math.floor(Math.random() * 160_000) : Infinity;
    proxy.cutsLeft -= 1;
    const end = () => (client.destroy(), upstream.destroy());
    client.on("error", end).on("close", end);
    upstream.on("error", end).on("close", end);
    client.pipe(upstream);
    upstream.on("data", (data) => {
      if (data.length < budget) {
        budget -= data.length;
        if (!client.write(data)) upstream.pause();
        return;
      }
      // What is within the budget still goes out: the cut is in the middle of whatever comes then.
      proxy.cutsDone += 1;
      client.write(data.subarray(0, budget), end);
    });
    client.on("drain", () => upstream.resume());
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  proxy.close = () => server.close();
  return proxy;
}

async function checkChannel(url) {
  const proxy = await cuttingProxy(url, CUTS);
  const channel = fresh("interop-sse");
  const events = new Set();
  const finished = new Set();
  const all = deferred();
  const opened = deferred();
  let opens = 0;
  const source = new EventSource(`${proxy.url}/v1/events?channel=${channel}&cursor=latest`);
  source.onopen = () => ((opens += 1), opened.resolve());
  source.onerror = (error) => error.code && all.reject(new Error(`EventSource gave up: ${error.code} ${error.message}`));
  const take = (message) => {
    const event = JSON.parse(message.data);
    check(message.type === event.type, `event: ${message.type}, but its data says ${event.type}`);
    check(!events.has(event.id), `${event.id} came twice`);
    check(event.data.channel === channel, `an event of channel ${event.data.channel}`);
    events.add(event.id);
    if (event.type !== "task.done") return;
    check(!finished.has(event.data.id), `${event.data.id} ended twice`);
    finished.add(event.data.id);
    if (finished.size === TASKS) all.resolve();
  };
  const listen = (kind, act) => source.addEventListener(kind, (message) => {
    try {
      act(message);
    } catch (failure) {
      all.reject(failure);
    }
  });
  KINDS.forEach((kind) => listen(kind, take));
  listen("reset", (message) => check(false, `reset although nothing is past retention: ${message.data}`));
  waitingFor(() => `${finished.size} of ${TASKS} tasks have ended, ${events.size} events over ${opens} connections`);
  try {
    await opened.promise;
    const tasks = Array.from({ length: TASKS }, (_, n) => ({ type: "echo", channel, payload: { n } }));
    const [ids] = await Promise.all([submitAll(url, tasks), all.promise]);
    check(ids.every((id) => finished.has(id)), "other tasks came than were submitted");
    check(proxy.cutsDone >= CUTS / 2, `only ${proxy.cutsDone} cuts: the test shows nothing`);
    said(`${TASKS} tasks over ${proxy.cutsDone} cuts and ${opens} connections: ${events.size} events, none missing, none twice`);
  } finally {
    source.close();
    proxy.close();
  }
}

async function checkTaskStream(url) {
  const task = await call(url, "POST", "/v1/tasks", 202, { type: "sleep", payload: { ms: 1200 } });
  const closed = deferred();
  const kinds = [];
  const source = new EventSource(`${url}${task.links.events}`);
  KINDS.forEach((kind) => source.addEventListener(kind, () => kinds.push(kind)));
  // EventSource reconnects after the server's end; only the 204 makes it stop, and it says so with the code.
  source.onerror = (error) => source.readyState === EventSource.CLOSED && closed.resolve(error.code);
  waitingFor(() => `EventSource is to stop by itself; so far: ${kinds.join(", ")}`);
  const code = await closed.promise;
  check(code === 204, `EventSource stopped because of ${code}, not 204`);
  check(kinds.at(-1) === "task.done", `the task's stream ended after ${kinds}`);
  check(kinds.filter((kind) => kind === "task.done").length === 1, `the final event came more than once: ${kinds}`);
  said(`a task's stream: ${kinds.join(", ")}; then its end, and the 204 stops EventSource for good`);
}

await main(async (url) => {
  await checkTaskStream(url);
  await checkChannel(url);
});
