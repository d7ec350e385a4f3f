//! `GET /v1/tasks/{id}` with conditions and long poll, and `GET /v1/tasks/{id}/history`.

use std::sync::Arc;

use posthaste_api::{HistoryEntry, HistoryPage, Problem, TaskView, WebhookHistory};
use posthaste_http::{Caller, HttpResponse, Query, empty, json};
use posthaste_store::{Awaited, Change, TaskWebhook};
use posthaste_types::Task;
use warp::http::header::{ETAG, RETRY_AFTER};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use crate::app::App;
use crate::submit::RETRY_AFTER_S;
use crate::{conditional, prefer, problems};

pub(crate) async fn task(
    id: String,
    app: Arc<App>,
    caller: Caller,
    headers: HeaderMap,
    mut query: Query,
) -> Result<HttpResponse, Problem> {
    let wait = prefer::of_query(&mut query, &headers)?;
    query.end()?;
    let mut task = app.task(&caller, problems::task_id(&id)?).await?;
    if let Some(wait) = wait
        && awaits_change(&headers, &task)
    {
        let awaited = Awaited {
            task_id: task.id,
            after_version: task.version,
            final_only: false,
        };
        let changed = app.waits.changed(&caller, awaited, wait.duration()).await?;
        task = changed.map_or(task, Arc::unwrap_or_clone);
    }
    let mut response = if conditional::holds(&headers, &task) {
        described(StatusCode::NOT_MODIFIED, &task)
    } else {
        whole(task)
    };
    if let Some(wait) = wait {
        wait.note(&mut response);
    }
    Ok(response)
}

/// A caller that holds the task as it is waits for what comes next; one that told nothing need not wait for a task
/// that has ended.
fn awaits_change(headers: &HeaderMap, task: &Task) -> bool {
    if conditional::is_conditional(headers) {
        conditional::holds(headers, task)
    } else {
        !task.state.is_final()
    }
}

/// The task with its headers.
pub(crate) fn whole(task: Task) -> HttpResponse {
    let (etag, is_final) = (conditional::etag(&task), task.state.is_final());
    let mut response = json(StatusCode::OK, &TaskView::from(task));
    describe(&mut response, etag, is_final);
    response
}

/// The task's headers alone.
fn described(status: StatusCode, task: &Task) -> HttpResponse {
    let mut response = empty(status);
    describe(&mut response, conditional::etag(task), task.state.is_final());
    response
}

fn describe(response: &mut HttpResponse, etag: HeaderValue, is_final: bool) {
    response.headers_mut().insert(ETAG, etag);
    if !is_final {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    }
}

pub(crate) async fn history(
    id: String,
    app: Arc<App>,
    caller: Caller,
    query: Query,
) -> Result<HttpResponse, Problem> {
    query.end()?;
    let task = app.task(&caller, problems::task_id(&id)?).await?;
    let changes = app
        .store
        .history(&task)
        .await
        .map_err(|error| problems::read(&error))?;
    let webhooks = app
        .store
        .task_webhooks(task.id)
        .await
        .map_err(|error| problems::read(&error))?;
    let page = HistoryPage {
        history: changes.into_iter().map(entry).collect(),
        webhooks: webhooks.into_iter().map(webhook).collect(),
    };
    Ok(json(StatusCode::OK, &page))
}

fn entry(change: Change) -> HistoryEntry {
    HistoryEntry {
        state: change.state,
        at: change.at,
        run: change.run,
        attempt: change.attempt,
        worker: change.worker,
        error: change.error,
        note: change.note,
    }
}

fn webhook(attempt: TaskWebhook) -> WebhookHistory {
    WebhookHistory {
        endpoint: attempt.endpoint_id.to_string(),
        event: attempt.event_id.to_string(),
        attempt: attempt.id.to_string(),
        status: attempt.status,
        http_status: attempt.http_status.and_then(|status| u16::try_from(status).ok()),
        at: attempt.at,
    }
}
