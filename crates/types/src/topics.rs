//! Names on Kafka: topics and record headers, each once.

/// Prefix of the topics that carry tasks; the queue's name follows.
pub const TASKS_PREFIX: &str = "tasks.";
/// The topic that carries events of tasks.
pub const RESULTS: &str = "results";
/// The topic that takes records nobody could decode, with the reason in headers.
pub const DEAD_LETTERS: &str = "dead-letters";
/// The compacted topic in which a connector that publishes in transactions keeps how far it has come, one record a slot.
pub const POSITIONS: &str = "posthaste-positions";
/// The queue of a task that names none.
pub const DEFAULT_QUEUE: &str = "default";

/// Header: the event's id (the outbox row's), text.
pub const HEADER_EVENT_ID: &str = "id";
/// Header: the outbox row's `type`, text: a task type on a task topic, `task.done` and so on in results.
pub const HEADER_EVENT_TYPE: &str = "type";
/// Header: the tenant, text.
pub const HEADER_TENANT: &str = "tenant";
/// Header: W3C trace context, text.
pub const HEADER_TRACEPARENT: &str = "traceparent";
/// Header: where in the database's log the row was committed; see the connector.
pub const HEADER_POSITION: &str = "posthaste-position";
/// Header of a dead letter: the topic, partition and offset it came from, as `topic/partition/offset`.
pub const HEADER_DEAD_SOURCE: &str = "posthaste-dead-source";
/// Header of a dead letter: why it could not be used, text.
pub const HEADER_DEAD_REASON: &str = "posthaste-dead-reason";

/// The topic of a queue.
pub fn tasks_topic(queue: &str) -> String {
    format!("{TASKS_PREFIX}{queue}")
}

/// The registry's subject of a topic's values (TopicNameStrategy).
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// The topic of a subject that [`value_subject`] named.
pub fn topic_of_subject(subject: &str) -> Option<&str> {
    subject.strip_suffix("-value")
}
