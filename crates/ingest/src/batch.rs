//! `POST /v1/tasks/batch`: many tasks in one request, each with an outcome of its own, or all or none.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::{Accepted, BatchAnswer, BatchItem, BatchRequest, Problem};
use posthaste_http::{Caller, HttpResponse, json, parse_json_envelope};
use posthaste_runtime::{ids, metric};
use posthaste_store::{Idempotency, NewTask, Submitted};
use posthaste_types::limits::{BATCH_TASK_COUNT_MAX, BODY_BYTES_MAX};
use posthaste_types::{ErrorCode, Task};
use serde_json::value::RawValue;
use warp::http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::submit::{accepted, in_progress, key_reused, repeated, require_queue};
use crate::{idempotency, problems, request, trace, validate};

/// What a task of the batch came to so far.
type Item = Result<Accepted, Problem>;

pub(crate) async fn submit(
    app: Arc<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    app.intake.check()?;
    caller.quota().check_answers()?;
    let idempotency = idempotency::of_request(&headers, "/v1/tasks/batch", &body)?;
    let request: BatchRequest = parse_json_envelope(&body, "")?;
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
    // As the single submission does: a request that is refused now may repeat one that was taken.
    let refusal = refusal(&items, request.atomic).or_else(|| caller.quota().take_tasks(news.len()).err());
    if refusal.is_some() || news.is_empty() {
        let first = repeated(&app, &caller, idempotency.as_ref()).await;
        if let Some(first) = first {
            return first_answer(first);
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let count = news.len();
    let done = match idempotency {
        Some(idempotency) if count > 0 => under_key(&app, items, news, idempotency).await,
        _ if request.atomic => at_once(&app, items, news).await,
        _ => one_by_one(&app, items, news).await,
    };
    let stored = done.as_ref().map_or(0, |done| done.stored);
    metrics::counter!(metric::ACCEPTED).increment(stored as u64);
    caller.quota().give_back_tasks(count - stored);
    Ok(done?.response)
}

/// A batch that is not refused: how many of its tasks were stored, and what is answered.
struct Done {
    stored: usize,
    response: HttpResponse,
}

/// All that are valid in one commit, and the answer kept with the key, so that whoever repeats the request reads the
/// same.
async fn under_key(
    app: &App,
    items: Vec<Item>,
    news: Vec<NewTask>,
    idempotency: Idempotency,
) -> Result<Done, Problem> {
    let stored = news.len();
    let answer =
        serde_json::value::to_raw_value(&answer(items)).map_err(|error| problems::unwritable(&error))?;
    let idempotency = Idempotency {
        answer: Some(answer.get().as_bytes().to_vec()),
        ..idempotency
    };
    let outcome = app.submitter.submit_batch(news, Some(idempotency)).await;
    match outcome.map_err(|error| problems::submission(&error))? {
        Submitted::Stored => Ok(Done {
            stored,
            response: json(StatusCode::ACCEPTED, &answer),
        }),
        outcome => first_answer(outcome).map(|response| Done { stored: 0, response }),
    }
}

/// What the first request under the key was answered; nothing is stored by this one.
fn first_answer(outcome: Submitted) -> Result<HttpResponse, Problem> {
    match outcome {
        Submitted::Replayed {
            answer: Some(first), ..
        } => {
            let first: Box<RawValue> =
                serde_json::from_slice(&first).map_err(|error| problems::unwritable(&error))?;
            Ok(idempotency::replayed(json(StatusCode::ACCEPTED, &first)))
        }
        // Only a batch keeps an answer, and its fingerprint no other request has.
        Submitted::Replayed { answer: None, .. } | Submitted::KeyReused => Err(key_reused()),
        Submitted::Stored | Submitted::InProgress => Err(in_progress()),
    }
}

async fn at_once(app: &App, items: Vec<Item>, news: Vec<NewTask>) -> Result<Done, Problem> {
    let stored = news.len();
    app.submitter
        .submit_batch(news, None)
        .await
        .map_err(|error| problems::submission(&error))?;
    Ok(Done {
        stored,
        response: json(StatusCode::ACCEPTED, &answer(items)),
    })
}

/// Each task that the store refuses fails alone. When nothing could be stored because the store is away the whole
/// request is refused, so that callers who look at the status alone come again.
async fn one_by_one(app: &App, mut items: Vec<Item>, news: Vec<NewTask>) -> Result<Done, Problem> {
    let mut outcomes = app.submitter.submit_each(news).await.into_iter();
    for item in items.iter_mut().filter(|item| item.is_ok()) {
        let outcome = outcomes
            .next()
            .expect("every task that was handed in has an outcome");
        if let Err(error) = outcome {
            *item = Err(problems::submission(&error));
        }
    }
    let stored = items.iter().filter(|item| item.is_ok()).count();
    let is_away = |problem: &&Problem| problem.code == ErrorCode::Unavailable.as_str();
    let away = items.iter().filter_map(|item| item.as_ref().err()).find(is_away);
    if let (0, Some(away)) = (stored, away) {
        return Err(away.clone());
    }
    Ok(Done {
        stored,
        response: json(StatusCode::ACCEPTED, &answer(items)),
    })
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
    let request = request::parse(raw.get().as_bytes(), prefix)?;
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

/// Why none is taken, where it is all or none: the first task's problem, with the wrong fields of every task.
fn refusal(items: &[Item], atomic: bool) -> Option<Problem> {
    let mut refusals = items.iter().filter_map(|item| item.as_ref().err());
    let mut problem = refusals.next().filter(|_| atomic)?.clone();
    problem
        .errors
        .extend(refusals.flat_map(|refusal| refusal.errors.iter().cloned()));
    Some(problem)
}

fn answer(items: Vec<Item>) -> BatchAnswer {
    BatchAnswer {
        tasks: items.into_iter().map(batch_item).collect(),
    }
}

fn batch_item(item: Item) -> BatchItem {
    match item {
        Ok(accepted) => BatchItem::Accepted(Box::new(accepted)),
        Err(problem) => BatchItem::Refused {
            error: Box::new(problem),
        },
    }
}
