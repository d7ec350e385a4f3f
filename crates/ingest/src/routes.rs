//! The role's routes. A filter extracts, an async function decides; the hot path comes first.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use posthaste_http::{Routes, any_of, body, caller, get, no_query, post, query, reply};
use posthaste_types::Scope;
use posthaste_types::limits::{BATCH_BODY_BYTES_MAX, BODY_BYTES_MAX};
use warp::{Filter, path};

use crate::app::App;
use crate::{batch, change, list, read, submit};

/// All routes below `/v1/tasks` but the streams.
pub(crate) fn routes(app: Arc<App>) -> Routes {
    let headers = warp::header::headers_cloned;
    let app = with(app);
    let submit = path::end()
        .and(post())
        .and(app.clone())
        .and(caller(Scope::Submit))
        .and(no_query())
        .and(headers())
        .and(body(BODY_BYTES_MAX))
        .then(submit::submit);
    let task = path!(NotBatch)
        .and(get())
        .and(app.clone())
        .and(caller(Scope::Read))
        .and(headers())
        .and(query())
        .then(async |NotBatch(id), app, caller, headers, query| {
            read::task(id, app, caller, headers, query).await
        });
    let batch = path!("batch")
        .and(post())
        .and(app.clone())
        .and(caller(Scope::Submit))
        .and(no_query())
        .and(headers())
        .and(body(BATCH_BODY_BYTES_MAX))
        .then(batch::submit);
    let list = path::end()
        .and(get())
        .and(app.clone())
        .and(caller(Scope::Read))
        .and(query())
        .then(list::tasks);
    let history = path!(String / "history")
        .and(get())
        .and(app.clone())
        .and(caller(Scope::Read))
        .and(query())
        .then(read::history);
    let cancel = path!(String / "cancel")
        .and(post())
        .and(app.clone())
        .and(caller(Scope::Submit))
        .and(no_query())
        .then(change::cancel);
    let retry = path!(String / "retry")
        .and(post())
        .and(app)
        .and(caller(Scope::Submit))
        .and(no_query())
        .then(change::retry);
    let tasks = any_of([
        submit.map(reply).boxed(),
        task.map(reply).boxed(),
        batch.map(reply).boxed(),
        list.map(reply).boxed(),
        history.map(reply).boxed(),
        cancel.map(reply).boxed(),
        retry.map(reply).boxed(),
    ]);
    path!("v1" / "tasks" / ..).and(tasks).boxed()
}

/// What may be a task's id: `batch` is a route of its own, so that its 405 names the methods which it takes.
struct NotBatch(String);

impl FromStr for NotBatch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        (text != "batch").then(|| Self(text.to_owned())).ok_or(())
    }
}

fn with(
    app: Arc<App>,
) -> impl Filter<Extract = (Arc<App>,), Error = Infallible> + Clone + Send + Sync + 'static {
    warp::any().map(move || Arc::clone(&app))
}
