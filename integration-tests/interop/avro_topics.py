"""The topics read by confluent-kafka and its Avro deserializer: records, keys, headers, schemas, one result for each task."""

import collections
import json
import pathlib

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from common import Posthaste, check, fresh, main, said, waiting_for

TASKS_TOPIC, RESULTS_TOPIC = "tasks.default", "results"
SCHEMAS = {TASKS_TOPIC: "TaskRequested", RESULTS_TOPIC: "TaskEvent"}
HEADERS = {"id", "type", "tenant", "traceparent", "posthaste-position"}
TASKS = 200
KEYS = 5
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Topics:
    """Reads all partitions of both topics from where they end now."""

    def __init__(self, bootstrap, registry_url):
        self.registry = SchemaRegistryClient({"url": registry_url})
        self.deserialize = AvroDeserializer(self.registry)
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": fresh("interop"), "enable.auto.commit": False,
            "isolation.level": "read_committed", "auto.offset.reset": "error",
            # A question about watermarks waits behind the fetch that is under way.
            "fetch.wait.max.ms": 20,
        })
        self.ends = self.watermarks()
        self.consumer.assign([TopicPartition(topic, partition, end) for (topic, partition), end in self.ends.items()])

    def watermarks(self):
        ends = {}
        for topic in SCHEMAS:
            partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
            check(partitions, f"there is no topic {topic}")
            for partition in partitions:
                ends[topic, partition] = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
        return ends

    def records(self):
        """Endless; (None, None) between two polls, since an end may be reached without a record."""
        while True:
            for message in self.consumer.consume(500, timeout=0.2):
                check(message.error() is None, f"{message.error()}")
                context = SerializationContext(message.topic(), MessageField.VALUE)
                yield message, self.deserialize(message.value(), context)
            yield None, None

    def positions_reached(self, ends):
        return all(position.offset >= ends[position.topic, position.partition]
                   for position in self.consumer.position([TopicPartition(*one) for one in ends]))


def check_registry(topics):
    """What is registered is what the repository says, and only compatible successors get in."""
    check(topics.registry.get_compatibility() == "BACKWARD", "the registry's compatibility is not BACKWARD")
    folder = pathlib.Path(__file__).resolve().parents[2] / "schemas"
    for topic, name in SCHEMAS.items():
        registered = json.loads(topics.registry.get_latest_version(f"{topic}-value").schema.schema_str)
        check(registered == json.loads((folder / f"{name}.avsc").read_text()), f"{topic}-value is not schemas/{name}.avsc")
    said("both subjects hold the repository's schemas, compatibility BACKWARD")


def submit(posthaste, channel):
    """Tasks by id. One request after another, so that the commit order of a key is known."""
    tasks = {}
    for n in range(TASKS):
        task = {"type": "echo", "payload": {"n": n, "text": "Grüße ✓"}, "channel": channel, "priority": n % 10, "tags": {"n": str(n)}}
        if n % 2:
            task["key"] = f"{channel}-key-{n % KEYS}"
        answer = posthaste.call("POST", "/v1/tasks", (202,), json=task, headers={"traceparent": TRACEPARENT})
        tasks[answer.json()["id"]] = task | {"created_at": answer.json()["created_at"]}
    return tasks


def read_until_settled(topics, tasks):
    """Task and result records of `tasks`; after each has its end, on to where the topics end then: no second result."""
    asked, results, ends = collections.defaultdict(list), collections.defaultdict(list), None
    waiting_for(lambda: f"of {len(tasks)} tasks {len(asked)} are on {TASKS_TOPIC}, {len(results)} on {RESULTS_TOPIC}")
    for message, value in topics.records():
        if message is not None and value["task_id"] in tasks:
            (asked if message.topic() == TASKS_TOPIC else results)[value["task_id"]].append((message, value))
        if ends is None and len(asked) == len(tasks) and len(results) == len(tasks):
            ends = topics.watermarks()
        if ends is not None and topics.positions_reached(ends):
            return asked, results


def headers_of(message):
    headers = {name: value.decode() for name, value in message.headers()}
    check(set(headers) == HEADERS, f"headers of a record on {message.topic()}: {sorted(headers)}")
    check(len(message.headers()) == len(headers), "a header comes twice")
    check(headers["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1], f"another trace: {headers['traceparent']}")
    return headers


def check_asked(asked, tasks):
    order = collections.defaultdict(list)
    for task_id, found in asked.items():
        wanted = tasks[task_id]
        check(len(found) == 1, f"{task_id} was published {len(found)} times")
        message, value = found[0]
        headers = headers_of(message)
        check(message.key().decode() == wanted.get("key", task_id), f"{task_id} has the key {message.key()}")
        check(headers["type"] == value["task_type"] == "echo", f"type: {headers['type']}, {value['task_type']}")
        check(headers["tenant"] == value["tenant"], f"tenant: {headers['tenant']}, {value['tenant']}")
        check(json.loads(value["payload"]) == wanted["payload"], f"{task_id} has another payload: {value['payload']}")
        same = ("channel", "priority", "tags")
        check(all(value[name] == wanted[name] for name in same), f"{task_id} differs from what was submitted: {value}")
        check(value["queue"] == "default" and value["run"] == 1 and value["key"] == wanted.get("key"), f"{task_id}: {value}")
        if "key" in wanted:
            order[wanted["key"]].append((message.partition(), message.offset(), wanted["payload"]["n"]))
    for key, places in order.items():
        check(len({partition for partition, *_ in places}) == 1, f"{key} is on several partitions")
        numbers = [n for *_, n in sorted(places)]
        check(numbers == sorted(numbers), f"{key} is out of submit order: {numbers}")
    said(f"{len(asked)} tasks on {TASKS_TOPIC}: once each, fields, keys and headers as submitted, {len(order)} keys in order")


def check_results(results, tasks):
    positions = set()
    for task_id, found in results.items():
        final = [(message, value) for message, value in found if value["kind"] in ("DONE", "FAILED", "CANCELLED", "EXPIRED")]
        check(len(final) == 1, f"{task_id} has {len(final)} results")
        message, value = final[0]
        headers = headers_of(message)
        check(message.key().decode() == task_id, f"the result of {task_id} has the key {message.key()}")
        check(headers["id"] == value["event_id"] and value["event_id"].startswith("evt_"), f"id: {headers['id']}, {value['event_id']}")
        check(headers["type"] == "task.done" and value["kind"] == value["state"] == "DONE", f"{headers['type']}, {value['kind']}, {value['state']}")
        check(json.loads(value["result"]) == tasks[task_id]["payload"], f"{task_id} echoed {value['result']}")
        check(value["error"] is None and value["attempt"] == 1, f"{task_id}: {value}")
        check(value["created_at"] <= value["started_at"] <= value["finished_at"], f"{task_id}: its times are out of order")
        positions.add((headers["posthaste-position"], message.topic()))
    check(len(positions) == len(results), "two results share a position")
    said(f"{len(results)} results on {RESULTS_TOPIC}: exactly one for each task, key and headers right")


def run(arguments):
    posthaste = Posthaste(arguments.url)
    topics = Topics(arguments.kafka, arguments.registry)
    try:
        check_registry(topics)
        tasks = submit(posthaste, fresh("interop-avro"))
        asked, results = read_until_settled(topics, tasks)
        check_asked(asked, tasks)
        check_results(results, tasks)
    finally:
        topics.consumer.close()


main(run, "--kafka", "--registry")
