"""What the Python scripts share: arguments, checks, the HTTP side of Posthaste, and a proxy that cuts connections."""

import argparse
import contextlib
import random
import signal
import socket
import sys
import threading
import time
import uuid

import httpx

RUN_S_MAX = 55


class Failed(Exception):
    """A promise that was not kept."""


def check(holds, otherwise):
    if not holds:
        raise Failed(otherwise)


def said(text):
    print(f"  {text}", flush=True)


_waiting = {"for": lambda: "at the beginning"}


def waiting_for(describe):
    """What is waited for from here on; `describe()` is told when the time is up."""
    _waiting["for"] = describe


def main(run, *more):
    """Runs `run(arguments)` for at most RUN_S_MAX seconds; exit code 1 and one clear line if a check fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    for name in more:
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()

    def too_long(*_):
        raise Failed(f"not done after {RUN_S_MAX} s: {_waiting['for']()}")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(RUN_S_MAX)
    began = time.monotonic()
    print(sys.argv[0].rsplit("/", 1)[-1], flush=True)
    try:
        run(arguments)
    except (Failed, httpx.HTTPError) as failed:
        sys.exit(f"  FAILED: {failed!r}" if isinstance(failed, httpx.HTTPError) else f"  FAILED: {failed}")
    print(f"  done in {time.monotonic() - began:.1f} s", flush=True)


def fresh(prefix):
    """A name that no earlier run used."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


class Posthaste:
    """The HTTP contract, as far as the scripts need it. Every answer's status is checked."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=httpx.Timeout(30))

    def call(self, method, path, expect, **options):
        answer = self.http.request(method, path, **options)
        check(answer.status_code in expect, f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def submit(self, task):
        answer = self.call("POST", "/v1/tasks", (202,), json=task)
        accepted = answer.json()
        check(answer.headers.get("location") == f"/v1/tasks/{accepted['id']}", f"Location is {answer.headers.get('location')}")
        return accepted

    def submit_batch(self, tasks):
        answers = self.call("POST", "/v1/tasks/batch", (202,), json={"tasks": tasks}).json()["tasks"]
        check(len(answers) == len(tasks), f"{len(answers)} answers for a batch of {len(tasks)}")
        refused = [answer["error"] for answer in answers if "error" in answer]
        check(not refused, f"a batch refused {len(refused)} tasks: {refused[:1]}")
        return answers

    def until(self, path, holds, **options):
        """Reads `path` until `holds(body)`, for what no stream tells. The watchdog of `main` bounds it."""
        while True:
            body = self.call("GET", path, (200,), **options).json()
            if holds(body):
                return body
            time.sleep(0.05)


class CuttingProxy:
    """A TCP proxy that closes each of its first `cuts` connections after a random number of bytes of the answer,
    without regard to where a frame ends. Later connections are left alone."""

    def __init__(self, url, cuts, bytes_min, bytes_max, seed):
        target = httpx.URL(url)
        self.target = (target.host, target.port or 80)
        self.random = random.Random(seed)
        self.budgets = [self.random.randint(bytes_min, bytes_max) for _ in range(cuts)]
        self.cuts_done = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            budget = self.budgets.pop(0) if self.budgets else None
            threading.Thread(target=self._serve, args=(client, budget), daemon=True).start()

    def _serve(self, client, budget):
        with client, socket.create_connection(self.target) as server:
            threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
            if self._pump(server, client, budget):
                self.cuts_done += 1
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _pump(source, sink, budget):
        """Copies until either end closes, or `budget` bytes went through: then True."""
        with contextlib.suppress(OSError):
            while budget is None or budget > 0:
                data = source.recv(65536 if budget is None else min(65536, budget))
                if not data:
                    return False
                sink.sendall(data)
                if budget is not None:
                    budget -= len(data)
            return True
        return False
