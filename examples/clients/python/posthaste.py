"""A small client: submit with an idempotency key, wait by long poll, follow events with resume."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

FINAL = {"DONE", "FAILED", "CANCELLED", "EXPIRED"}
LATER = {408, 429, 502, 503, 504}


class Refused(Exception):
    """A problem document: decide by `code`."""

    def __init__(self, problem: dict):
        super().__init__(f"{problem.get('title')}: {problem.get('detail')}")
        self.status, self.code = problem.get("status"), problem.get("code")
        self.errors = problem.get("errors", [])


@dataclass
class Event:
    cursor: str
    kind: str
    data: dict


class Posthaste:
    def __init__(self, url: str, key: str | None = None):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=90)

    def submit(self, task_type: str, payload=None, *, idempotency_key: str | None = None, **fields) -> dict:
        """Stores a task. The key makes it safe to send again, so it is sent until there is an answer."""
        headers = {"idempotency-key": f'"{idempotency_key or uuid.uuid4()}"'}
        body = {"type": task_type, "payload": payload, **fields}
        return self._again("POST", "/v1/tasks", headers=headers, json=body).json()

    def get(self, task_id: str) -> dict:
        return self._again("GET", f"/v1/tasks/{task_id}").json()

    def wait(self, task_id: str, timeout_s: float = 300) -> dict:
        """The task once it has ended; a poll is answered at the next change, so nothing is asked twice."""
        end, etag = time.monotonic() + timeout_s, ""
        while (left := end - time.monotonic()) > 0:
            headers = {"if-none-match": etag} if etag else {}
            wait = max(1, min(60, int(left)))
            answer = self._again("GET", f"/v1/tasks/{task_id}", headers=headers, params={"wait": wait})
            if answer.status_code == 304:
                continue
            task, etag = answer.json(), answer.headers["etag"]
            if task["state"] in FINAL:
                return task
        raise TimeoutError(task_id)

    def follow(self, cursor: str = "latest", **filters: str) -> Iterator[Event]:
        """Events for ever, over any number of connections: none is missing and none comes twice. Keep `cursor` to go
        on after a restart. `reset` says that events after the cursor are no longer kept."""
        wait_s, params = 1.0, {**filters, "cursor": cursor}
        while True:
            headers = {"last-event-id": cursor} if cursor not in ("latest", "earliest") else {}
            try:
                with self.http.stream("GET", "/v1/events", params=params, headers=headers) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        self._refuse(answer)
                    # An id counts once its frame is whole: what was cut comes again.
                    for frame in frames(answer.iter_lines()):
                        cursor = frame.get("id", cursor)
                        wait_s = int(frame.get("retry", wait_s * 1000)) / 1000
                        if "data" in frame:
                            yield Event(cursor, frame.get("event", "message"), json.loads(frame["data"]))
            except httpx.TransportError:
                pass
            time.sleep(wait_s)

    def _again(self, method: str, path: str, tries: int = 6, **options) -> httpx.Response:
        """Sends what is safe to repeat until it is answered, with back-off or after as long as the server asks."""
        for attempt in range(tries):
            last = attempt == tries - 1
            wait_s = 0.2 * 2**attempt
            try:
                answer = self.http.request(method, path, **options)
            except httpx.TransportError:
                if last:
                    raise
            else:
                if answer.status_code not in LATER or last:
                    return answer if answer.is_success or answer.status_code == 304 else self._refuse(answer)
                wait_s = max(wait_s, float(answer.headers.get("retry-after", 0)))
            time.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    @staticmethod
    def _refuse(answer: httpx.Response):
        if answer.headers.get("content-type") == "application/problem+json":
            raise Refused(answer.json())
        answer.raise_for_status()
        raise httpx.HTTPError(f"status {answer.status_code}")


def frames(lines: Iterator[str]) -> Iterator[dict]:
    """Whole frames of server-sent events; one that was cut off is not given."""
    frame: dict[str, str] = {}
    for line in lines:
        if not line:
            if frame:
                yield frame
            frame = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            frame[name] = f"{frame[name]}\n{value}" if name == "data" and "data" in frame else value
