//! The routes of this crate: which path and method leads to which handler. Decides nothing.

use std::convert::Infallible;
use std::sync::Arc;

use posthaste_api::{NewKey, NewStreamToken, RotateKey};
use posthaste_http::{Caller, Routes, any_of, caller, delete, get, json_body, no_query, post, query, reply};
use posthaste_types::Scope;
use posthaste_types::limits::SMALL_BODY_BYTES_MAX;
use warp::{Filter, path};

use crate::api::Api;

/// Everything that is answered here.
pub(crate) fn routes(api: &Arc<Api>) -> Routes {
    any_of([keys(api), one_key(api), stream_tokens(api), audit(api)])
}

fn with(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Arc<Api>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let api = Arc::clone(api);
    warp::any().map(move || Arc::clone(&api))
}

fn keys(api: &Arc<Api>) -> Routes {
    let create = path!("v1" / "keys")
        .and(post())
        .and(with(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .and(json_body::<NewKey>(SMALL_BODY_BYTES_MAX))
        .then(async |api: Arc<Api>, caller: Caller, new| reply(api.create(&caller, new).await));
    let list = path!("v1" / "keys")
        .and(get())
        .and(with(api))
        .and(caller(Scope::Admin))
        .and(query())
        .then(async |api: Arc<Api>, caller: Caller, query| reply(api.list(&caller, query).await));
    any_of([create.boxed(), list.boxed()])
}

fn one_key(api: &Arc<Api>) -> Routes {
    let one = path!("v1" / "keys" / String)
        .and(get())
        .and(with(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |id: String, api: Arc<Api>, caller: Caller| reply(api.one(&caller, &id).await));
    let revoke = path!("v1" / "keys" / String)
        .and(delete())
        .and(with(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |id: String, api: Arc<Api>, caller: Caller| reply(api.revoke(&caller, &id).await));
    let rotate = path!("v1" / "keys" / String / "rotate")
        .and(post())
        .and(with(api))
        .and(caller(Scope::Admin))
        .and(no_query())
        .and(json_body::<RotateKey>(SMALL_BODY_BYTES_MAX))
        .then(async |id: String, api: Arc<Api>, caller: Caller, rotate| {
            reply(api.rotate(&caller, &id, rotate).await)
        });
    any_of([one.boxed(), revoke.boxed(), rotate.boxed()])
}

fn stream_tokens(api: &Arc<Api>) -> Routes {
    path!("v1" / "stream-tokens")
        .and(post())
        .and(with(api))
        .and(caller(Scope::Read))
        .and(no_query())
        .and(json_body::<NewStreamToken>(SMALL_BODY_BYTES_MAX))
        .map(|api: Arc<Api>, caller: Caller, new| reply(api.stream_token(&caller, new)))
        .boxed()
}

fn audit(api: &Arc<Api>) -> Routes {
    path!("v1" / "audit")
        .and(get())
        .and(with(api))
        .and(caller(Scope::Admin))
        .and(query())
        .then(async |api: Arc<Api>, caller: Caller, query| reply(api.audit(&caller, query).await))
        .boxed()
}
