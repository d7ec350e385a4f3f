//! `POST /v1/tasks`, the hot path: parsed once, stored in a shared commit, answered.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use posthaste_api::{Accepted, Links, Problem, SubmitRequest};
use posthaste_http::{Caller, HttpResponse, json};
use posthaste_runtime::{chain, ids, metric};
use posthaste_store::{Awaited, Error, Idempotency, NewTask, Submitted};
use posthaste_types::{ErrorCode, Task, TaskState, topics};
use warp::http::header::{LOCATION, RETRY_AFTER};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use crate::app::App;
use crate::{idempotency, prefer, problems, read, request, trace, validate};

/// When a task that is not final is worth another look, seconds.
pub(crate) const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

pub(crate) async fn submit(
    app: Arc<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    app.intake.check()?;
    let idempotency = idempotency::of_request(&headers, "/v1/tasks", &body)?;
    let request = request::parse(&body, "")?;
    let task = match ready(&app, &caller, &headers, request).await {
        Ok(task) => task,
        Err(refusal) => {
            let first = repeated(&app, &caller, idempotency.as_ref())
                .await
                .ok_or(refusal)?;
            let request = request::parse(&body, "")?;
            let accepted = first_accepted(request.task_type, validate::queue(request.queue), first)?;
            return answer(&app, &caller, &headers, &accepted)
                .await
                .map(idempotency::replayed);
        }
    };
    let accepted = accepted(&task);
    let new = NewTask {
        task,
        event_id: ids::event_id(),
        idempotency,
    };
    let outcome = app.submitter.submit(new).await;
    if !matches!(outcome, Ok(Submitted::Stored)) {
        caller.quota().give_back_tasks(1);
    }
    let outcome = outcome.map_err(|error| problems::submission(&error))?;
    metrics::histogram!(metric::ACCEPT_SECONDS).record(began.elapsed());
    if let Submitted::Stored = outcome {
        metrics::counter!(metric::ACCEPTED).increment(1);
        return answer(&app, &caller, &headers, &accepted).await;
    }
    let accepted = first_accepted(accepted.task_type, accepted.queue, outcome)?;
    answer(&app, &caller, &headers, &accepted)
        .await
        .map(idempotency::replayed)
}

/// The task as it is to be stored, which is counted among its tenant's.
async fn ready(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    request: SubmitRequest,
) -> Result<Task, Problem> {
    let traceparent = trace::traceparent(headers);
    let task = validate::task(request, caller.tenant(), app.now(), traceparent, "")?;
    require_queue(app, &task.queue, "").await?;
    caller.quota().take_tasks(1)?;
    Ok(task)
}

/// The 202 at once, or what a caller that would rather wait gets.
async fn answer(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    accepted: &Accepted,
) -> Result<HttpResponse, Problem> {
    let location =
        HeaderValue::from_str(&accepted.links.this).expect("a path of letters and digits is header text");
    // A reader that leaves its answers untaken gets the short one.
    let wait = prefer::preferred(headers).filter(|_| caller.quota().check_answers().is_ok());
    let finished = match wait {
        // It is stored: a reader that cannot wait any more (429, or 401 once its key is dead) still gets its 202.
        Some(wait) => {
            let awaited = Awaited {
                task_id: accepted.id,
                after_version: 0,
                final_only: true,
            };
            let changed = app.waits.changed(caller, awaited, wait.duration()).await;
            changed.unwrap_or_default()
        }
        None => None,
    };
    let mut response = match finished {
        Some(task) => read::whole(Arc::unwrap_or_clone(task)),
        None => {
            let mut response = json(StatusCode::ACCEPTED, accepted);
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
            response
        }
    };
    response.headers_mut().insert(LOCATION, location);
    if let Some(wait) = wait {
        wait.note(&mut response);
    }
    Ok(response)
}

/// The 202's body for a task about to be stored.
pub(crate) fn accepted(task: &Task) -> Accepted {
    Accepted {
        id: task.id,
        state: task.state,
        task_type: task.task_type.clone(),
        queue: task.queue.clone(),
        created_at: task.created_at,
        links: Links::of(task.id),
    }
}

/// What became of the first request under the key of one that is refused, if there is a key and it was used: since then
/// the tenant may have reached a limit, or what is said of time no longer holds (a delay that now goes past the
/// deadline). While that cannot be told the request stays refused.
pub(crate) async fn repeated(
    app: &App,
    caller: &Caller,
    idempotency: Option<&Idempotency>,
) -> Option<Submitted> {
    let held = app.store.key_outcome(caller.tenant(), idempotency?).await;
    held.unwrap_or_else(|error| {
        tracing::debug!(error = %chain(&error), "a key cannot be looked up");
        None
    })
}

/// The body that the first request under the key got; equal fingerprints mean equal types and queues.
fn first_accepted(task_type: String, queue: String, outcome: Submitted) -> Result<Accepted, Problem> {
    match outcome {
        Submitted::Replayed {
            task_id,
            created_at,
            scheduled,
            answer: _,
        } => Ok(Accepted {
            id: task_id,
            state: if scheduled {
                TaskState::Scheduled
            } else {
                TaskState::Init
            },
            task_type,
            queue,
            created_at,
            links: Links::of(task_id),
        }),
        Submitted::KeyReused => Err(key_reused()),
        Submitted::Stored | Submitted::InProgress => Err(in_progress()),
    }
}

pub(crate) fn key_reused() -> Problem {
    Problem::new(
        ErrorCode::IdempotencyKeyReused,
        "another request was sent under this Idempotency-Key; send this one with a key of its own",
    )
}

pub(crate) fn in_progress() -> Problem {
    Problem::new(
        ErrorCode::IdempotencyInProgress,
        "the first request under this Idempotency-Key is not stored yet; send it again in a second",
    )
}

/// 422 for a queue that no `posthaste migrate` has made: nothing would ever carry the task.
pub(crate) async fn require_queue(app: &App, queue: &str, prefix: &str) -> Result<(), Problem> {
    match app.store.schema_id(&topics::tasks_topic(queue)).await {
        Ok(_) => Ok(()),
        Err(Error::Setup(_)) => {
            let detail = format!("there is no queue `{queue}`; the server's configuration names them");
            Err(Problem::new(ErrorCode::Unprocessable, detail.clone())
                .with_field(format!("{prefix}/queue"), detail))
        }
        Err(error) => Err(problems::submission(&error)),
    }
}
