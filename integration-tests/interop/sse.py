"""Server-Sent Events read by httpx-sse, over a proxy that cuts the connection: no event is missing, none comes twice."""

import random
import threading

import httpx
import httpx_sse

from common import CuttingProxy, Failed, Posthaste, check, fresh, main, said, waiting_for

TASKS = 2500
CUTS = 10
FINAL = {"task.done", "task.failed", "task.cancelled", "task.expired"}


def read(http, url, params=None, last_id=None, on_open=None, may_be_cut=False):
    """Events of one connection as (cursor, name, event), until the server ends it or, where allowed, it is cut."""
    headers = {"last-event-id": last_id} if last_id else {}
    try:
        with httpx_sse.connect_sse(http, "GET", url, params=params, headers=headers) as source:
            check(source.response.status_code == 200, f"{url} answered {source.response.status_code}")
            check_headers(source.response.headers)
            if on_open:
                on_open()
            for frame in source.iter_sse():
                check(frame.event != "reset", f"reset although nothing is past retention: {frame.data}")
                # httpx-sse also hands out a frame that only sets `retry`; the standard dispatches none without data.
                if not frame.data:
                    continue
                yield frame.id, frame.event, frame.json()
    except httpx.TransportError:
        if not may_be_cut:
            raise


def check_headers(headers):
    check(headers["content-type"].startswith("text/event-stream"), f"content-type: {headers['content-type']}")
    check(headers.get("cache-control") == "no-store", f"cache-control: {headers.get('cache-control')}")
    check(headers.get("x-accel-buffering") == "no", f"x-accel-buffering: {headers.get('x-accel-buffering')}")


class Follower:
    """Follows a channel over any number of connections; refuses a repeat as soon as it comes."""

    def __init__(self, channel):
        self.channel = channel
        self.events = []
        self.cursors = []
        self.seen = set()
        self.finished = set()

    def follow(self, http, url, submitter):
        """Until each task has ended. Submitting begins once the first stream is open: from there nothing may be missed."""
        waiting_for(lambda: f"{len(self.finished)} of {TASKS} tasks have ended, {len(self.events)} events came")
        for connection in range(CUTS + 5):
            before = len(self.events)
            params = {"channel": self.channel, "cursor": "latest"}
            last_id = self.cursors[-1] if self.cursors else None
            on_open = submitter.start if connection == 0 else None
            for cursor, name, event in read(http, f"{url}/v1/events", params, last_id, on_open, may_be_cut=True):
                self.take(cursor, name, event)
                if len(self.finished) == TASKS:
                    return
            check(len(self.events) > before, f"connection {connection + 1} brought nothing")
        raise Failed(f"{len(self.finished)} of {TASKS} tasks after {CUTS + 5} connections")

    def take(self, cursor, name, event):
        task = event["data"]
        check(cursor, f"an event without an id: {event['id']}")
        check(name == event["type"], f"event: {name}, but its data says {event['type']}")
        check(event["id"] not in self.seen, f"{event['id']} came twice")
        check(task["channel"] == self.channel, f"an event of channel {task['channel']}")
        check("payload" not in task, "an event carries the payload")
        self.seen.add(event["id"])
        self.events.append(event["id"])
        self.cursors.append(cursor)
        if name in FINAL:
            check(task["id"] not in self.finished, f"{task['id']} ended twice")
            self.finished.add(task["id"])


def submit_all(posthaste, channel, submitted):
    for start in range(0, TASKS, 100):
        tasks = [{"type": "echo", "channel": channel, "payload": {"n": n}} for n in range(start, start + 100)]
        submitted.extend(answer["id"] for answer in posthaste.submit_batch(tasks))


def check_channel(posthaste, url):
    seed = random.randrange(1 << 32)
    proxy = CuttingProxy(url, CUTS, 30_000, 180_000, seed)
    channel, submitted = fresh("interop-sse"), []
    submitter = threading.Thread(target=submit_all, args=(posthaste, channel, submitted), daemon=True)
    with httpx.Client(timeout=30) as http:
        follower = Follower(channel)
        follower.follow(http, proxy.url, submitter)
        submitter.join()
        proxy.close()
        check(follower.finished == set(submitted), f"other tasks came than were submitted (seed {seed})")
        check(proxy.cuts_done >= CUTS // 2, f"only {proxy.cuts_done} cuts: the test shows nothing (seed {seed})")
        said(f"{TASKS} tasks over {proxy.cuts_done} cuts (seed {seed}): {len(follower.events)} events, none missing, none twice")
        check_resume(http, url, follower, random.Random(seed))


def check_resume(http, url, follower, chance):
    """After any cursor exactly the rest comes, by header and by parameter."""
    waiting_for(lambda: f"{len(got)} of {len(rest)} events came after the cursor of event {position}")
    last = len(follower.events) - 1
    for position, by_header in ((0, True), (chance.randrange(last), True), (chance.randrange(last), False), (last - 1, True)):
        cursor, rest, got = follower.cursors[position], set(follower.events[position + 1:]), []
        params = {"channel": follower.channel} | ({} if by_header else {"cursor": cursor})
        for _, _, event in read(http, f"{url}/v1/events", params, cursor if by_header else None):
            got.append(event["id"])
            if len(got) == len(rest):
                break
        check(set(got) == rest, f"after event {position} of {last}: {len(set(got) - rest)} of {len(got)} events are not of the rest")
    said("a cursor of the middle, by Last-Event-ID and by parameter, brings exactly the rest")


def check_task_stream(posthaste, url):
    task = posthaste.submit({"type": "sleep", "payload": {"ms": 1200}})
    kinds, last_id = [], None
    with httpx.Client(timeout=30) as http:
        path = f"{url}/v1/tasks/{task['id']}/events"
        for cursor, kind, event in read(http, path):
            check(event["data"]["id"] == task["id"], f"an event of {event['data']['id']}")
            kinds.append(kind)
            last_id = cursor or last_id
        check(kinds and kinds[-1] == "task.done", f"the task's stream ended after {kinds}")
        check(kinds.count("task.done") == 1, f"the final event came {kinds.count('task.done')} times")
        check(last_id, "the final event has no id")
        again = http.get(path, headers={"last-event-id": last_id, "accept": "text/event-stream"})
        check(again.status_code == 204, f"the reconnect after the end got {again.status_code}")
        unknown = "task_" + "0" * 25 + "1"
        missing = http.get(f"{url}/v1/tasks/{unknown}/events", headers={"accept": "text/event-stream"})
        check(missing.status_code == 404, f"the stream of no task got {missing.status_code}")
    said(f"a task's stream: {', '.join(kinds)}, then its end; the reconnect gets 204, an unknown task 404")


def run(arguments):
    posthaste = Posthaste(arguments.url)
    check_task_stream(posthaste, arguments.url)
    check_channel(posthaste, arguments.url)


main(run)
