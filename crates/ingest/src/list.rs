//! `GET /v1/tasks`: a page of tasks by filter, newest first.

use std::sync::Arc;

use posthaste_api::{Problem, TaskPage};
use posthaste_http::{Caller, HttpResponse, Query, json};
use posthaste_store::TaskFilter;
use posthaste_types::limits::{PAGE_TASK_COUNT_DEFAULT, PAGE_TASK_COUNT_MAX, TAG_COUNT_MAX};
use posthaste_types::{ErrorCode, TaskId};
use warp::http::StatusCode;

use crate::app::App;
use crate::problems;

pub(crate) async fn tasks(app: Arc<App>, caller: Caller, mut query: Query) -> Result<HttpResponse, Problem> {
    let limit = query.limit(PAGE_TASK_COUNT_DEFAULT, PAGE_TASK_COUNT_MAX)?;
    let after = cursor(&mut query)?;
    let filter = filter(&mut query)?;
    query.end()?;
    let _slot = app.lists.try_take(caller.tenant()).ok_or_else(too_many)?;
    let page = app
        .store
        .tasks(caller.tenant(), &filter, after, limit)
        .await
        .map_err(|error| problems::read(&error))?;
    let answer = TaskPage {
        tasks: page.tasks.into_iter().map(Into::into).collect(),
        next: page.next.map(|id| id.to_string()),
    };
    Ok(json(StatusCode::OK, &answer))
}

fn too_many() -> Problem {
    Problem::new(
        ErrorCode::TooManyRequests,
        "too many lists of tasks are being read; ask for fewer at a time",
    )
}

/// The id that the last page ended with; opaque to callers, so what is wrong with it is not told in detail.
fn cursor(query: &mut Query) -> Result<Option<TaskId>, Problem> {
    let Some(text) = query.one("cursor")? else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| problems::parameter("`cursor` is not one that `next` gave"))
}

fn filter(query: &mut Query) -> Result<TaskFilter, Problem> {
    let filter = TaskFilter {
        states: query.parsed_list("state")?,
        task_type: query.one("type")?,
        queue: query.one("queue")?,
        channel: query.one("channel")?,
        key: query.one("key")?,
        tags: query.prefixed("tag.")?,
        created_after: query.time("created_after")?,
        created_before: query.time("created_before")?,
    };
    if filter.tags.len() > TAG_COUNT_MAX {
        return Err(problems::parameter(format!(
            "at most {TAG_COUNT_MAX} `tag.` parameters may be given"
        )));
    }
    Ok(filter)
}
