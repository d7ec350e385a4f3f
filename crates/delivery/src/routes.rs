//! The routes of this role: which path and method leads to which handler. Decides nothing.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::NewEndpoint;
use posthaste_http::{
    Caller, Query, Routes, any_of, body, caller, delete, get, json_body, no_query, patch, post, query, reply,
    stream_caller,
};
use posthaste_types::Scope;
use posthaste_types::limits::SMALL_BODY_BYTES_MAX;
use warp::Filter;
use warp::http::HeaderValue;

use crate::stream::context::Context;
use crate::stream::{events, task_events};
use crate::webhook::api::Api;

/// Everything that this role answers.
pub(crate) fn routes(context: &Arc<Context>, api: &Arc<Api>) -> Routes {
    any_of([
        all_events(context),
        one_task(context),
        collection(api),
        item(api),
        actions(api),
    ])
}

fn shared<T: Send + Sync + 'static>(
    value: &Arc<T>,
) -> impl Filter<Extract = (Arc<T>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let value = Arc::clone(value);
    warp::any().map(move || Arc::clone(&value))
}

/// A header that is not text counts as absent.
fn last_event_id()
-> impl Filter<Extract = (Option<String>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let text = |value: HeaderValue| value.to_str().ok().map(str::to_owned);
    warp::header::value("last-event-id")
        .map(text)
        .or(warp::any().map(|| None))
        .unify()
}

fn all_events(context: &Arc<Context>) -> Routes {
    warp::path!("v1" / "events")
        .and(get())
        .and(shared(context))
        .and(stream_caller())
        .and(query())
        .and(last_event_id())
        .map(|context, caller: Caller, query, id| reply(events::open(context, &caller, query, id)))
        .boxed()
}

fn one_task(context: &Arc<Context>) -> Routes {
    warp::path!("v1" / "tasks" / String / "events")
        .and(get())
        .and(shared(context))
        .and(stream_caller())
        .and(query())
        .and(last_event_id())
        .then(
            async |task, context, caller, query: Query, id| match query.end() {
                Ok(()) => reply(task_events::open(context, caller, task, id).await),
                Err(problem) => reply(Err(problem)),
            },
        )
        .boxed()
}

fn collection(api: &Arc<Api>) -> Routes {
    let create = warp::path!("v1" / "endpoints")
        .and(post())
        .and(shared(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .and(json_body::<NewEndpoint>(SMALL_BODY_BYTES_MAX))
        .then(async |api: Arc<Api>, caller, new| reply(api.create(&caller, new).await));
    let list = warp::path!("v1" / "endpoints")
        .and(get())
        .and(shared(api))
        .and(caller(Scope::Read))
        .and(query())
        .then(async |api: Arc<Api>, caller, query| reply(api.list(&caller, query).await));
    any_of([create.boxed(), list.boxed()])
}

fn item(api: &Arc<Api>) -> Routes {
    let one = warp::path!("v1" / "endpoints" / String)
        .and(get())
        .and(shared(api))
        .and(caller(Scope::Read))
        .and(no_query())
        .then(async |id: String, api: Arc<Api>, caller| reply(api.one(&caller, &id).await));
    let change = warp::path!("v1" / "endpoints" / String)
        .and(patch())
        .and(shared(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .and(body(SMALL_BODY_BYTES_MAX))
        .then(async |id: String, api: Arc<Api>, caller, body: Bytes| {
            reply(api.patch(&caller, &id, &body).await)
        });
    let remove = warp::path!("v1" / "endpoints" / String)
        .and(delete())
        .and(shared(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |id: String, api: Arc<Api>, caller| reply(api.delete(&caller, &id).await));
    any_of([one.boxed(), change.boxed(), remove.boxed()])
}

fn actions(api: &Arc<Api>) -> Routes {
    let secret = warp::path!("v1" / "endpoints" / String / "secret")
        .and(get())
        .and(shared(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |id: String, api: Arc<Api>, caller| reply(api.secret(&caller, &id).await));
    let attempts = warp::path!("v1" / "endpoints" / String / "attempts")
        .and(get())
        .and(shared(api))
        .and(caller(Scope::Read))
        .and(query())
        .then(async |id: String, api: Arc<Api>, caller, query| {
            reply(api.attempts(&caller, &id, query).await)
        });
    let test = warp::path!("v1" / "endpoints" / String / "test")
        .and(post())
        .and(shared(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |id: String, api: Arc<Api>, caller| reply(api.test(&caller, &id).await));
    any_of([
        secret.boxed(),
        attempts.boxed(),
        test.boxed(),
        set_enabled(api, "enable", true),
        set_enabled(api, "disable", false),
    ])
}

fn set_enabled(api: &Arc<Api>, action: &'static str, enabled: bool) -> Routes {
    warp::path("v1")
        .and(warp::path("endpoints"))
        .and(warp::path::param())
        .and(warp::path(action))
        .and(warp::path::end())
        .and(post())
        .and(shared(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(move |id: String, api: Arc<Api>, caller: Caller| async move {
            reply(api.set_enabled(&caller, &id, enabled).await)
        })
        .boxed()
}
