//! `POST /v1/tasks/batch`: many tasks in one request, each with an outcome of its own, or all or none.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::{Accepted, BatchAnswer, BatchItem, BatchRequest, Problem, SubmitRequest};
use posthaste_http::{Caller, HttpResponse, json, parse_json};
use posthaste_runtime::{ids, metric};
use posthaste_store::{Error, NewTask, Submitted};
use posthaste_types::limits::{BATCH_TASK_COUNT_MAX, BODY_BYTES_MAX};
use posthaste_types::{ErrorCode, Task};
use serde_json::value::RawValue;
use warp::http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::idempotency::IDEMPOTENCY_KEY;
use crate::submit::{accepted, require_queue, settle};
use crate::{problems, trace, validate};

/// What a task of the batch came to so far.
type Item = Result<Accepted, Problem>;

pub(crate) async fn submit(
    app: Arc<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(problems::parameter(
            "`Idempotency-Key` is for single tasks: a batch cannot be sent under one",
        ));
    }
    let request: BatchRequest = parse_json(&body, "")?;
    if !(1..=BATCH_TASK_COUNT_MAX).contains(&request.tasks.len()) {
        let detail = format!("must hold 1 to {BATCH_TASK_COUNT_MAX} tasks");
        return Err(
            Problem::new(ErrorCode::InvalidRequest, format!("`/tasks` {detail}"))
                .with_field("/tasks", detail),
        );
    }
    let mut items: Vec<Item> = Vec::with_capacity(request.tasks.len());
    let mut news = Vec::with_capacity(request.tasks.len());
    for (index, raw) in request.tasks.iter().enumerate() {
        let task = task(&app, &caller, &headers, raw, &format!("/tasks/{index}")).await;
        items.push(task.map(|task| {
            let accepted = accepted(&task);
            news.push(NewTask {
                task,
                event_id: ids::event_id(),
                idempotency: None,
            });
            accepted
        }));
    }
    if request.atomic {
        refuse_if_any(&items)?;
    }
    let outcomes = app.submitter.submit_all(news, request.atomic).await;
    store_outcomes(&mut items, outcomes, request.atomic)?;
    metrics::counter!(metric::ACCEPTED).increment(items.iter().filter(|item| item.is_ok()).count() as u64);
    let tasks = items.into_iter().map(batch_item).collect();
    Ok(json(StatusCode::ACCEPTED, &BatchAnswer { tasks }))
}

async fn task(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    raw: &RawValue,
    prefix: &str,
) -> Result<Task, Problem> {
    if raw.get().len() > BODY_BYTES_MAX {
        let detail = format!("must be at most {BODY_BYTES_MAX} bytes");
        return Err(
            Problem::new(ErrorCode::BodyTooLarge, format!("`{prefix}` {detail}")).with_field(prefix, detail),
        );
    }
    let request: SubmitRequest = parse_json(raw.get().as_bytes(), prefix)?;
    let task = validate::task(
        request,
        caller.tenant(),
        app.now(),
        trace::traceparent(headers),
        prefix,
    )?;
    require_queue(app, &task.queue, prefix).await?;
    Ok(task)
}

/// All or none: the first task's problem, with the wrong fields of every task.
fn refuse_if_any(items: &[Item]) -> Result<(), Problem> {
    let mut refusals = items.iter().filter_map(|item| item.as_ref().err());
    let Some(first) = refusals.next() else {
        return Ok(());
    };
    let mut problem = first.clone();
    problem
        .errors
        .extend(refusals.flat_map(|refusal| refusal.errors.iter().cloned()));
    Err(problem)
}

/// Puts the store's outcomes to the tasks that got there. When nothing could be stored because the store is away the
/// whole request is refused, so that callers who look at the status alone come again.
fn store_outcomes(
    items: &mut [Item],
    outcomes: Vec<Result<Submitted, Error>>,
    atomic: bool,
) -> Result<(), Problem> {
    let mut outcomes = outcomes.into_iter();
    for item in items.iter_mut() {
        let Ok(accepted) = item else { continue };
        let outcome = outcomes
            .next()
            .expect("every task that was handed in has an outcome");
        let settled = outcome
            .map_err(|error| problems::submission(&error))
            .and_then(|outcome| settle(accepted, outcome).map(|_| ()));
        if let Err(problem) = settled {
            *item = Err(problem);
        }
    }
    let none_stored = items.iter().all(Result::is_err);
    let refusal = items
        .iter()
        .filter_map(|item| item.as_ref().err())
        .find(|problem| atomic || (none_stored && problem.code == ErrorCode::Unavailable.as_str()));
    refusal.map_or(Ok(()), |problem| Err(problem.clone()))
}

fn batch_item(item: Item) -> BatchItem {
    match item {
        Ok(accepted) => BatchItem::Accepted(Box::new(accepted)),
        Err(problem) => BatchItem::Refused {
            error: Box::new(problem),
        },
    }
}
