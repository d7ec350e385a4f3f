"""Webhooks verified by the standardwebhooks library: signatures, retries under one id, attempts, 410, deletion."""

import collections
import contextlib
import http.server
import json
import queue
import threading

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from common import Posthaste, check, fresh, main, said, waiting_for

TASKS = 40


class Receiver(http.server.ThreadingHTTPServer):
    """A partner's server: hands each request over and answers what `answer(path, webhook_id)` says."""

    daemon_threads = True

    def __init__(self, answer):
        self.answer = answer
        self.requests = queue.Queue()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, more = self.server.answer(self.path, headers["webhook-id"])
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.requests.put((self.path, headers, body, status))

    def log_message(self, *_):
        pass


class FailsFirst:
    """The first delivery of the first event gets 500, that of the second 503 with Retry-After, of any other 204."""

    def __init__(self):
        self.lock = threading.Lock()
        self.planned = collections.deque([(500, {}), (503, {"retry-after": "1"})])
        self.seen = set()
        self.gone = False

    def __call__(self, path, webhook_id):
        with self.lock:
            if self.gone:
                return 410, {}
            first = webhook_id not in self.seen
            self.seen.add(webhook_id)
            return self.planned.popleft() if first and self.planned else (204, {})


def refused(library, body, headers):
    try:
        library.verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


def verify(library, headers, body):
    """The event, once the signature holds and no change of body, id or time passes."""
    event = library.verify(body, headers)
    check(refused(library, body.replace(b'"', b"'", 1), headers), "a tampered body was taken")
    check(refused(library, body + b" ", headers), "a longer body was taken")
    check(refused(library, body, headers | {"webhook-id": "evt_other"}), "another webhook-id was taken")
    later = str(int(headers["webhook-timestamp"]) + 1)
    check(refused(library, body, headers | {"webhook-timestamp": later}), "another time was taken")
    check(headers["content-type"].startswith("application/json"), f"content-type: {headers['content-type']}")
    check(headers["user-agent"].startswith("Posthaste/"), f"user-agent: {headers['user-agent']}")
    check(headers.get("x-interop") == "yes", "the endpoint's own header is missing")
    check(event["id"] == headers["webhook-id"], "webhook-id is not the event's id")
    check(set(event) == {"id", "type", "timestamp", "data"}, f"the event's members: {sorted(event)}")
    return event


def create(posthaste, url, channel, cleanup):
    """An endpoint, gone when `cleanup` closes, and its library, made with the secret that the creation shows."""
    wanted = {"url": url, "events": ["task.done"], "channels": [channel], "description": "interop", "headers": {"x-interop": "yes"}}
    endpoint = posthaste.call("POST", "/v1/endpoints", (201,), json=wanted).json()
    path = f"/v1/endpoints/{endpoint['id']}"
    cleanup.callback(posthaste.http.delete, path)
    check(endpoint["secret"].startswith("whsec_"), "the secret does not begin with whsec_")
    check(posthaste.call("GET", f"{path}/secret", (200,)).json()["secret"] == endpoint["secret"], "another secret is shown later")
    shown = posthaste.call("GET", path, (200,)).json()
    check("secret" not in shown, "the endpoint shows its secret")
    check(all(shown[name] == value for name, value in wanted.items()), f"the endpoint differs from what was asked for: {shown}")
    listed = posthaste.call("GET", "/v1/endpoints", (200,)).json()["endpoints"]
    check(endpoint["id"] in {one["id"] for one in listed}, "the endpoint is not in the list")
    return path, Webhook(endpoint["secret"])


def deliveries(receiver, library, wanted):
    """Requests by webhook-id until each wanted task has one that got 2xx."""
    requests, delivered = collections.defaultdict(list), {}
    waiting_for(lambda: f"{len(delivered)} of {len(wanted)} tasks were delivered in {sum(map(len, requests.values()))} requests")
    while set(delivered) < wanted:
        _, headers, body, status = receiver.requests.get()
        event = verify(library, headers, body)
        requests[event["id"]].append((status, headers, body))
        task = event["data"]
        check(task["id"] in wanted, f"{task['id']} is of another channel")
        check(event["type"] == "task.done" and task["state"] == "DONE", f"{event['type']} in {task['state']}")
        check("payload" not in task and task["result"] == {"task": task["tags"]["n"]}, f"the task in the event: {task}")
        if status < 300:
            check(task["id"] not in delivered, f"{task['id']} was delivered twice although the first got 2xx")
            delivered[task["id"]] = event["id"]
    return requests


def check_retries(requests):
    retried = {key: sent for key, sent in requests.items() if len(sent) > 1}
    check(sorted(sent[0][0] for sent in retried.values()) == [500, 503], f"retried: {[[s for s, *_ in sent] for sent in retried.values()]}")
    for sent in retried.values():
        (_, first, body), (_, second, body_again) = sent
        check(len(sent) == 2 and json.loads(body) == json.loads(body_again), "a retry has another body")
        waited = int(second["webhook-timestamp"]) - int(first["webhook-timestamp"])
        check(sent[0][0] != 503 or waited >= 1, "Retry-After was not obeyed")
    said(f"{len(requests)} events delivered; signatures hold, changes do not; 500 and 503 were retried under the same webhook-id")


def check_attempts(posthaste, path, count):
    """The log has each attempt: it is written after the answer, so it is read until it does."""
    def attempts(query):
        found, cursor = [], None
        while True:
            page = posthaste.call("GET", f"{path}/attempts", (200,), params=query | ({"cursor": cursor} if cursor else {})).json()
            found += page["attempts"]
            cursor = page["next"]
            if not cursor:
                return found

    waiting_for(lambda: f"fewer than {count} attempts are in the log")
    posthaste.until(path, lambda _: len(attempts({})) >= count)
    logged = attempts({})
    check(len(logged) == count, f"{len(logged)} attempts are logged, {count} were made")
    failed = attempts({"status": "failed"})
    check(sorted(one["http_status"] for one in failed) == [500, 503], f"failed attempts: {failed}")
    check(all(one["number"] == 1 and one["next_at"] for one in failed), f"failed attempts: {failed}")
    check(len(attempts({"status": "succeeded"})) == count - 2, "the succeeded attempts are not the rest")
    retried = failed[0]["task"]
    history = posthaste.call("GET", f"/v1/tasks/{retried}/history", (200,)).json()
    check([one["status"] for one in history["webhooks"]] == ["failed", "succeeded"], f"webhooks in the history: {history['webhooks']}")
    said(f"{count} attempts are logged, the failed ones with status and next time, and in the task's history")


def check_end(posthaste, receiver, answer, path, channel, cleanup):
    """A deleted endpoint gets nothing more; one that answers 410 is disabled."""
    sentinel, library = create(posthaste, receiver.url("/sentinel"), channel, cleanup)
    posthaste.call("DELETE", path, (204,))
    posthaste.call("GET", path, (404,))
    waiting_for(lambda: "an event for the second endpoint")
    posthaste.submit({"type": "echo", "channel": channel})
    to, headers, body, _ = receiver.requests.get()
    verify(library, headers, body)
    check(to == "/sentinel", "the deleted endpoint still gets events")
    waiting_for(lambda: "the endpoint that answers 410 is to be disabled")
    answer.gone = True
    posthaste.submit({"type": "echo", "channel": channel})
    receiver.requests.get()
    shown = posthaste.until(sentinel, lambda endpoint: not endpoint["enabled"])
    check(shown["disabled_reason"], "an endpoint disabled by 410 does not say why")
    posthaste.call("DELETE", sentinel, (204,))
    check(receiver.requests.empty(), "a request came that nobody expected")
    said(f"a deleted endpoint gets nothing more; 410 disables ({shown['disabled_reason']})")


def run(arguments):
    posthaste, answer, channel = Posthaste(arguments.url), FailsFirst(), fresh("interop-webhooks")
    receiver = Receiver(answer)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(receiver.shutdown)
        path, library = create(posthaste, receiver.url("/hook"), channel, cleanup)
        tasks = [{"type": "echo", "channel": channel, "payload": {"task": str(n)}, "tags": {"n": str(n)}} for n in range(TASKS)]
        wanted = {accepted["id"] for accepted in posthaste.submit_batch(tasks)}
        requests = deliveries(receiver, library, wanted)
        check_retries(requests)
        check_attempts(posthaste, path, sum(map(len, requests.values())))
        check_end(posthaste, receiver, answer, path, channel, cleanup)


main(run)
