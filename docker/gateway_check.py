"""Checks gateway/nginx.conf with nginx itself: its syntax, and where each route of the HTTP contract goes.

The configuration is tried as it is but for three things that only exist inside Compose: the port, the two upstream
names, and `resolve`, which nginx knows since 1.27.3. Behind it stand two recorders that say who they are.
"""

import contextlib
import http.client
import http.server
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

INGEST = [
    ("POST", "/v1/tasks"), ("POST", "/v1/tasks/batch"), ("GET", "/v1/tasks?state=DONE"), ("GET", "/v1/tasks/task_1"),
    ("GET", "/v1/tasks/task_1?wait=5"), ("GET", "/v1/tasks/task_1/history"), ("POST", "/v1/tasks/task_1/cancel"),
    ("POST", "/v1/tasks/task_1/retry"), ("POST", "/v1/replays"), ("GET", "/v1/replays/rep_1/events"), ("GET", "/readyz"),
    ("GET", "/openapi.json"), ("GET", "/v1/eventsource"), ("GET", "/v1/tasks/task_1/events/more"),
    ("GET", "/v1/connectors"), ("POST", "/v1/connectors/posthaste/pause"),
]
DELIVERY = [
    ("GET", "/v1/events"), ("GET", "/v1/events?channel=a%2Fb"), ("GET", "/v1/events/pull?consumer=c"),
    ("POST", "/v1/events/pull/c/ack"), ("GET", "/v1/tasks/task_1/events"), ("POST", "/v1/endpoints"),
    ("GET", "/v1/endpoints"), ("PATCH", "/v1/endpoints/ep_1"), ("GET", "/v1/endpoints/ep_1/attempts?status=failed"),
    ("GET", "/v1/ws"), ("POST", "/v1/stream-tokens"),
]


class Recorder(http.server.ThreadingHTTPServer):
    """Answers with its name, or not at all once it is `away`; `/v1/events?stream` stays open until `release` is set."""

    daemon_threads = True

    def __init__(self, name):
        self.name = name
        self.release = threading.Event()
        self.away = False
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.server.away:
            self.close_connection = True
        elif self.headers.get("upgrade"):
            self.send_response(101)
            self.send_header("connection", "upgrade")
            self.send_header("upgrade", self.headers["upgrade"])
            self.end_headers()
            self.wfile.write(self.rfile.readline())
            self.close_connection = True
        elif self.path == "/v1/events?stream":
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(b"data: first\n\n")
            self.wfile.flush()
            self.server.release.wait(10)
            self.close_connection = True
        else:
            body = f"{self.server.name} {self.command} {self.path}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tried_configuration(text, directory, port, ports):
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{directory}/")
    text = re.sub(r"resolver [^;]*;", "", text)
    for name, upstream in ports.items():
        text, count = re.subn(rf"server {name}:8080 resolve\b", f"server 127.0.0.1:{upstream}", text)
        if count != 1:
            raise ValueError(f"no `server {name}:8080 resolve` in it")
    return text


@contextlib.contextmanager
def running(nginx, configuration, port):
    command = [nginx, "-p", str(configuration.parent), "-c", str(configuration), "-g", "daemon off;"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError as refused:
                if process.poll() is not None:
                    raise RuntimeError("nginx ended at once") from refused
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body=body)
    answer = connection.getresponse()
    return answer, answer.read().decode()


def check_routes(port, report):
    with report.checking(f"{len(INGEST)} routes go to ingest and {len(DELIVERY)} to delivery, paths untouched"):
        for name, routes in (("ingest", INGEST), ("delivery", DELIVERY)):
            for method, path in routes:
                _, body = ask(port, method, path)
                if body != f"{name} {method} {path}":
                    report.wrong(f"the gateway sends {method} {path} to: {body[:80]}")


def check_stream(port, delivery, report):
    with report.checking("an event passes the gateway while its stream is still open"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/v1/events?stream")
        try:
            first = connection.getresponse().read1(100)
        except TimeoutError:
            first = b""
        delivery.release.set()
        connection.close()
        if first != b"data: first\n\n":
            report.wrong(f"the gateway held an event back: {first!r}")


def check_upgrade(port, report):
    with report.checking("a WebSocket passes the gateway"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            stream = client.makefile("rb")
            status = stream.readline()
            while stream.readline().strip():
                pass
            client.sendall(b"through\n")
            echoed = stream.readline()
        if b" 101 " not in status or echoed != b"through\n":
            report.wrong(f"no WebSocket through the gateway: {status!r}, {echoed!r}")


def check_problems(port, ingest, report):
    with report.checking("the gateway's own answers (413, 503) are problem documents"):
        answer, body = ask(port, "POST", "/v1/tasks/batch", body=b" " * (21 * 1024 * 1024))
        if answer.status != 413 or '"code":"body_too_large"' not in body:
            report.wrong(f"a body of 21 MiB gets {answer.status}: {body[:80]}")
        ingest.away = True
        answer, body = ask(port, "POST", "/v1/tasks")
        if answer.status != 503 or '"code":"unavailable"' not in body or not answer.getheader("retry-after"):
            report.wrong(f"with ingest away the gateway answers {answer.status}: {body[:80]}")


def check(path, report):
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if nginx is None:
        report.skipped("gateway/nginx.conf: nginx is not here")
        return
    ingest, delivery = Recorder("ingest"), Recorder("delivery")
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        configuration = pathlib.Path(directory, "nginx.conf")
        ports = {"ingest": ingest.server_port, "delivery": delivery.server_port}
        configuration.write_text(tried_configuration(path.read_text(), directory, port, ports))
        tested = subprocess.run([nginx, "-t", "-q", "-c", configuration], capture_output=True, text=True, check=False)
        if tested.returncode != 0:
            report.wrong(f"nginx refuses gateway/nginx.conf: {tested.stderr.strip()}")
            return
        with running(nginx, configuration, port):
            check_routes(port, report)
            check_stream(port, delivery, report)
            check_upgrade(port, report)
            check_problems(port, ingest, report)
