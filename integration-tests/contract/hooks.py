"""What JSON Schema cannot say of the contract, told to schemathesis, so that it counts as broken only what is."""

import os
from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st

# A task's times lie within a year of now; elsewhere any time is taken.
schemathesis.openapi.format(
    "date-time",
    st.integers(min_value=1, max_value=86_400).map(
        lambda s: (datetime.now(timezone.utc) + timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ),
)
# An endpoint's URL: the one scheme and shape that is taken everywhere. Nothing listens there.
schemathesis.openapi.format(
    "uri", st.integers(min_value=0, max_value=99).map(lambda n: f"https://127.0.0.1:9/hook/{n}")
)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """A server that runs open asks nobody for a key."""
    if "POSTHASTE_KEY" not in os.environ:
        for item in raw_schema["paths"].values():
            for operation in item.values():
                operation["security"] = []


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def consistent(task):
    """Keeps the rules between two fields of a task."""
    if isinstance(task.get("not_before"), str) and number(task.get("delay_s")):
        del task["delay_s"]
    waits = isinstance(task.get("not_before"), str) or number(task.get("delay_s"))
    if waits and isinstance(task.get("deadline"), str):
        del task["deadline"]
    retry = task.get("retry")
    if isinstance(retry, dict):
        base, most = retry.get("base_s", 1), retry.get("max_s", 300)
        if number(base) and number(most) and base > most >= 0:
            retry["base_s"] = most


@schemathesis.hook
def before_call(context, case, kwargs):
    """What breaks a schema is sent as it is."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # A task that is to run tomorrow is waited for in vain, up to a minute each time.
    if isinstance(case.query, dict) and number(case.query.get("wait")):
        case.query["wait"] = min(case.query["wait"], 1)
    if not isinstance(case.body, dict):
        return
    if case.operation.path == "/v1/tasks":
        consistent(case.body)
    elif case.operation.path == "/v1/tasks/batch":
        for task in case.body["tasks"]:
            consistent(task)
    elif isinstance(case.body.get("expires_at"), str):
        case.body["expires_at"] = "2999-01-01T00:00:00Z"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """A revoked key stays in the list."""
    return not (type(failure).__name__ == "UseAfterFree" and case.operation.path.startswith("/v1/keys"))
