//! `/v1/tasks`: submit, read, wait, list, change.

use posthaste_types::{ErrorCode as Code, Scope, limits};
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterStyle};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{ObjectBuilder, Ref, Type};

use super::operation::{Answer, Operation, header, query};
use super::{examples, headers, shapes};
use crate::{Accepted, BatchAnswer, BatchRequest, HistoryPage, SubmitRequest, TaskPage, TaskView};

const TAG: &str = "tasks";

pub(crate) fn operations() -> Vec<Operation> {
    vec![submit(), list(), batch(), read(), history(), cancel(), retry()]
}

fn submit() -> Operation {
    Operation::new((HttpMethod::Post, "/v1/tasks"), TAG, "submitTask", "Submit a task")
        .about(
            "The 202 means that the task is stored and survives the loss of any process. With `Prefer: wait=N` the answer \
             waits for the task's end and is then a 200 with the whole task; after N seconds it is the 202 all the same.\n\n\
             With an `Idempotency-Key` a repetition answers what the first request did and makes no second task.",
        )
        .key(Scope::Submit)
        .parameters([idempotency_key(), prefer(), traceparent()])
        .body::<SubmitRequest>(&[
            ("The least", examples::submit_least()),
            ("Everything", examples::submit_everything()),
        ])
        .answers(
            Answer::json::<TaskView>("200", "The task has ended within the wait.", examples::task()).headers([
                headers::location(),
                headers::etag(),
                headers::preference_applied(),
                headers::idempotent_replayed(),
            ]),
        )
        .answers(Answer::json::<Accepted>("202", "The task is stored.", examples::accepted()).headers([
            headers::location(),
            headers::retry_after(),
            headers::preference_applied(),
            headers::idempotent_replayed(),
        ]))
        .refuses([Code::IdempotencyInProgress, Code::IdempotencyKeyReused, Code::Unprocessable])
}

fn batch() -> Operation {
    Operation::new((HttpMethod::Post, "/v1/tasks/batch"), TAG, "submitTasks", "Submit up to a thousand tasks")
        .about(
            "The answer has one entry for each task, in their order: what a single submission would answer, or the problem \
             with that task. With `atomic` one problem refuses all of them.\n\n\
             With an `Idempotency-Key` a repetition answers what the first request did, and makes no second task; all valid \
             tasks are then stored at once or none. A key under which no task was valid is not used.",
        )
        .key(Scope::Submit)
        .parameters([idempotency_key(), traceparent()])
        .body::<BatchRequest>(&[("Two tasks", examples::batch())])
        .answers(
            Answer::json::<BatchAnswer>("202", "What became of each task.", examples::batch_answer())
                .headers([headers::idempotent_replayed()]),
        )
        .refuses([Code::IdempotencyInProgress, Code::IdempotencyKeyReused, Code::Unprocessable])
}

fn read() -> Operation {
    Operation::new((HttpMethod::Get, "/v1/tasks/{id}"), TAG, "getTask", "Read a task, or wait for its next change")
        .about(
            "With `wait` (or `Prefer: wait=N`) the answer waits for the first change past the `If-None-Match` that was \
             sent; without one, for the first change of a task that has not ended. At the end of the wait it is the task \
             as it stands, or a 304.",
        )
        .key(Scope::Read)
        .parameters([
            query("wait", "Seconds to wait for a change.", shapes::whole(0.0, limits::WAIT_S_MAX as f64)).build(),
            prefer(),
            if_none_match(),
        ])
        .answers(Answer::json::<TaskView>("200", "The task as it stands.", examples::task()).headers([
            headers::etag(),
            headers::retry_after(),
            headers::preference_applied(),
        ]))
        .answers(Answer::empty("304", "The task is as the caller holds it.").headers([
            headers::etag(),
            headers::retry_after(),
            headers::preference_applied(),
        ]))
}

fn list() -> Operation {
    let text = |name: &str, about: &str| query(name, about, shapes::any_text()).build();
    let states = ArrayBuilder::new().items(Ref::from_schema_name("TaskState"));
    let tags = shapes::map(
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^tag\.[^\u0000]*$")),
        shapes::any_text(),
        limits::TAG_COUNT_MAX,
    );
    Operation::new((HttpMethod::Get, "/v1/tasks"), TAG, "listTasks", "List tasks, newest first")
        .about(
            "A page may hold fewer tasks than `limit` and still have a `next`: a filter that matches little ends it after \
             as many rows as one request may look at. `next` is null on the last page.",
        )
        .key(Scope::Read)
        .parameters([
            query("state", "Only these states.", states)
                .style(Some(ParameterStyle::Form))
                .explode(Some(false))
                .build(),
            text("type", "Only this task type."),
            text("queue", "Only this queue."),
            text("channel", "Only this channel."),
            text("key", "Only this ordering key."),
            query("tags", "`tag.NAME=VALUE`, each as a parameter of its own: only tasks with all of these tags.", tags)
                .style(Some(ParameterStyle::Form))
                .explode(Some(true))
                // Empty, it would be a parameter of that very name, which there is not.
                .extensions(None)
                .build(),
            query("created_after", "Submitted then or later.", shapes::time()).build(),
            query("created_before", "Submitted before.", shapes::time()).build(),
            query(
                "limit",
                "Tasks on the page.",
                shapes::whole(1.0, limits::PAGE_TASK_COUNT_MAX as f64)
                    .default(Some(limits::PAGE_TASK_COUNT_DEFAULT.into())),
            )
            .build(),
            query("cursor", "`next` of the page before.", Ref::from_schema_name("TaskId")).build(),
        ])
        .answers(Answer::json::<TaskPage>("200", "A page of tasks.", examples::task_page()))
}

fn history() -> Operation {
    Operation::new(
        (HttpMethod::Get, "/v1/tasks/{id}/history"),
        TAG,
        "getTaskHistory",
        "Every change of a task's state",
    )
    .key(Scope::Read)
    .parameters([])
    .answers(Answer::json::<HistoryPage>(
        "200",
        "Changes and webhook attempts, oldest first.",
        examples::history(),
    ))
}

fn cancel() -> Operation {
    change("cancel", "cancelTask", "Cancel a task").about(
        "A running attempt is not stopped, but what it writes is refused. A task that has ended is a 409.",
    )
}

fn retry() -> Operation {
    change("retry", "retryTask", "Run a task that has ended once more")
        .about("A new run of the same task, with its own attempts. A task that has not ended is a 409.")
}

fn change(action: &str, id: &str, summary: &str) -> Operation {
    let path = match action {
        "cancel" => "/v1/tasks/{id}/cancel",
        _ => "/v1/tasks/{id}/retry",
    };
    Operation::new((HttpMethod::Post, path), TAG, id, summary)
        .key(Scope::Submit)
        .answers(
            Answer::json::<TaskView>("202", "The task after the change.", examples::task())
                .headers([headers::etag()]),
        )
        .refuses([Code::StateConflict])
}

fn idempotency_key() -> Parameter {
    let max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
    let pattern = format!(r#"^([!#-+\--:<-~]{{1,{max}}}|"([ !#-\[\]-~]|\\["\\]){{1,{max}}}")$"#);
    let about = "A string in double quotes (draft-ietf-httpapi-idempotency-key-header-06) or a bare token: one task for one \
                 key, however often the request is sent.";
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern));
    header("Idempotency-Key", about, schema)
}

fn prefer() -> Parameter {
    let about = format!(
        "`wait=N` (RFC 7240): wait for at most N seconds, {} at most. What is not understood is ignored.",
        limits::WAIT_S_MAX
    );
    header("Prefer", &about, ObjectBuilder::new().schema_type(Type::String))
}

fn if_none_match() -> Parameter {
    let about = "The `ETag` that the caller holds.";
    header(
        "If-None-Match",
        about,
        ObjectBuilder::new().schema_type(Type::String),
    )
}

fn traceparent() -> Parameter {
    let about =
        "W3C trace context: handlers, events and webhooks carry it on. What is not understood is ignored.";
    header(
        "traceparent",
        about,
        ObjectBuilder::new().schema_type(Type::String),
    )
}
