//! The streams: server-sent events of one task, and of everything that a filter wants.

use posthaste_types::{Scope, limits};
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterStyle};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema, Type};

use super::operation::{Answer, Operation, header, query};
use super::{examples, headers, shapes};

const TAG: &str = "events";
const EVENT_STREAM: &str = "text/event-stream";

pub(crate) fn operations() -> Vec<Operation> {
    vec![all(), of_task()]
}

fn all() -> Operation {
    Operation::new((HttpMethod::Get, "/v1/events"), TAG, "streamEvents", "Follow events as they happen")
        .about(
            "Server-sent events; `data` is an `Event`, `event` its `type`, `id` an opaque cursor. A stream that is opened \
             again with the last id (`Last-Event-ID`, which EventSource sends by itself, or `cursor`) goes on exactly \
             after it: nothing is lost and nothing comes twice, whichever process answers.\n\n\
             When events after the cursor are no longer kept there is one `event: reset` with \
             `data: {\"oldest\": CURSOR}` before the oldest that are. Every 15 seconds a comment shows that the stream \
             lives; `retry` says how long to wait before a reconnect.",
        )
        .key(Scope::Read)
        .or_stream_token()
        .parameters([
            listed("channel", "Only these channels.", shapes::text(1, limits::CHANNEL_BYTES_MAX)),
            listed("type", "Only these task types.", shapes::text(1, limits::TASK_TYPE_LEN_MAX)),
            listed("event", "Only these kinds of event.", Ref::from_schema_name("EventKind")),
            query("cursor", "Where to begin: `earliest`, `latest` (the default) or an event's id.", cursor()).build(),
            header("Last-Event-ID", "The last id that was received; it wins over `cursor`.", cursor()),
        ])
        .answers(stream(examples::stream()))
}

fn of_task() -> Operation {
    Operation::new((HttpMethod::Get, "/v1/tasks/{id}/events"), TAG, "streamTaskEvents", "Follow one task to its end")
        .about(
            "First the present state, as an event (`task.state` where the state publishes none), then each change. The \
             stream ends after the final event; who comes back with its id gets a 204, which makes EventSource stop.",
        )
        .key(Scope::Read)
        .or_stream_token()
        .parameters([header(
            "Last-Event-ID",
            "The last id that was received.",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some("^v[0-9]{1,9}$")),
        )])
        .answers(stream(examples::task_stream()))
        .answers(Answer::empty("204", "The task has ended, and the caller has seen it."))
}

fn stream(example: &str) -> Answer {
    let description = "The stream. It has no end of its own unless it is that of one task.";
    Answer::text("200", description, EVENT_STREAM, example).headers([headers::cache_control()])
}

/// Values in one parameter, separated by commas.
fn listed(name: &str, about: &str, item: impl Into<RefOr<Schema>>) -> Parameter {
    let values = ArrayBuilder::new()
        .items(item.into())
        .max_items(Some(limits::STREAM_FILTER_LEN_MAX));
    query(name, about, values)
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .build()
}

fn cursor() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(limits::CURSOR_LEN_MAX))
        .pattern(Some("^[A-Za-z0-9_-]*$"))
}
