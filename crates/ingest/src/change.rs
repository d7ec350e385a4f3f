//! `POST /v1/tasks/{id}/cancel` and `/retry`: what a caller may do to a task that exists.

use std::sync::Arc;

use posthaste_api::{Problem, TaskView};
use posthaste_http::{Caller, HttpResponse, json};
use posthaste_runtime::ids;
use posthaste_store::{Error, TaskChange};
use posthaste_types::{ErrorCode, TaskId};
use warp::http::StatusCode;
use warp::http::header::ETAG;

use crate::app::App;
use crate::{conditional, problems};

pub(crate) async fn cancel(id: String, app: Arc<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    let id = problems::task_id(&id)?;
    answer(
        id,
        app.store
            .cancel(caller.tenant(), id, ids::event_id(), app.now())
            .await,
    )
}

pub(crate) async fn retry(id: String, app: Arc<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    let id = problems::task_id(&id)?;
    // It is one more task for the workers.
    app.intake.check()?;
    caller.quota().take_tasks(1)?;
    let change = app
        .store
        .rerun(caller.tenant(), id, ids::event_id(), app.now())
        .await;
    if !matches!(change, Ok(TaskChange::Changed(_))) {
        caller.quota().give_back_tasks(1);
    }
    answer(id, change)
}

fn answer(id: TaskId, change: Result<TaskChange, Error>) -> Result<HttpResponse, Problem> {
    match change.map_err(|error| problems::change(&error))? {
        TaskChange::Changed(task) => {
            let etag = conditional::etag(&task);
            let mut response = json(StatusCode::ACCEPTED, &TaskView::from(*task));
            response.headers_mut().insert(ETAG, etag);
            Ok(response)
        }
        TaskChange::NotFound => Err(problems::no_task(&id)),
        TaskChange::Refused(refused) => Err(Problem::new(ErrorCode::StateConflict, refused.to_string())),
    }
}
