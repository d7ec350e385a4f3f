"""Submit, repeat, wait, follow, resume: what `posthaste.py` is for."""

import os
import uuid

from posthaste import Posthaste, Refused

client = Posthaste(os.environ.get("POSTHASTE_URL", "http://127.0.0.1:8080"), os.environ.get("POSTHASTE_KEY"))
channel = f"tour-{uuid.uuid4()}"

first = client.submit("text.stats", {"text": "more haste, less speed"}, channel=channel, idempotency_key=channel)
again = client.submit("text.stats", {"text": "more haste, less speed"}, channel=channel, idempotency_key=channel)
assert first["id"] == again["id"], "one key is one task"
task = client.wait(first["id"])
assert task["state"] == "DONE", task
print("result:", task["result"])

ids = {first["id"]} | {client.submit("echo", n, channel=channel)["id"] for n in range(20)}


def ends(cursor: str, wanted: int) -> tuple[list[str], str]:
    """Ids of the next tasks that end, and the cursor after them."""
    found = []
    for event in client.follow(cursor, channel=channel):
        if event.kind == "task.done":
            found.append(event.data["data"]["id"])
        if len(found) == wanted:
            return found, event.cursor


# Half of them, then the rest on a new connection, as after a restart of this program.
half, cursor = ends("earliest", 10)
rest, _ = ends(cursor, len(ids) - 10)
assert set(half + rest) == ids and len(half + rest) == len(ids), "none is missing and none comes twice"
print(f"{len(half)} and {len(rest)} results over two connections")

try:
    client.submit("Not A Type")
except Refused as refused:
    print("refused:", refused.code, refused.errors)
else:
    raise AssertionError("a wrong type is refused")
