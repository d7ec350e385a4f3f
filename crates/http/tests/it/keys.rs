//! A door whose keys are a fixed list.

use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_http::{
    Actor, Authenticator, Caller, Credentials, Front, Quota, Routes, StreamGrant, caller, empty, get, json,
    query, stream_caller, unauthenticated,
};
use posthaste_types::{KeyId, Scope, Scopes, TenantLimits};
use warp::Filter;
use warp::http::StatusCode;

/// May read, of the tenant `acme`.
pub(crate) const KEY: &str = "authorization: Bearer phk_reader\r\n";

struct Keys(Arc<Quota>);

impl Authenticator for Keys {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        let (tenant, quota) = ("acme".into(), Arc::clone(&self.0));
        let id: KeyId = posthaste_runtime::ids::key_id();
        match credentials {
            Credentials::Bearer("phk_reader") => {
                let prefix = "phk_re".into();
                let scopes: Scopes = [Scope::Read].into_iter().collect();
                Ok(Caller::new(tenant, scopes, Actor::Key { id, prefix }, quota))
            }
            Credentials::Token("pht_stream") => {
                let grant = StreamGrant::Channels(vec!["a".to_owned()]);
                Ok(Caller::with_grant(
                    tenant,
                    Actor::StreamToken { id },
                    grant,
                    quota,
                ))
            }
            Credentials::None => Err(unauthenticated("send a key")),
            Credentials::Bearer(_) | Credentials::Token(_) => Err(unauthenticated("not a key")),
        }
    }
}

/// Lets [`KEY`] in, whose tenant has these limits.
pub(crate) fn front(limits: TenantLimits) -> Front {
    Front::new(Arc::new(Keys(Arc::new(Quota::new(limits)))))
}

/// Something to read, to administrate and to stream, and a page for everybody.
pub(crate) fn routes() -> Routes {
    let tasks = warp::path!("v1" / "tasks")
        .and(get())
        .and(caller(Scope::Read))
        .map(|caller: Caller| json(StatusCode::OK, caller.tenant()));
    let keys = warp::path!("v1" / "keys")
        .and(get())
        .and(caller(Scope::Admin))
        .map(|_| empty(StatusCode::NO_CONTENT));
    let events = warp::path!("v1" / "events")
        .and(get())
        .and(stream_caller())
        .and(query())
        .map(|_, query| json(StatusCode::OK, &format!("{query:?}")));
    let health = warp::path!("healthz")
        .and(get())
        .map(|| json(StatusCode::OK, "ok"));
    tasks
        .or(keys)
        .unify()
        .or(events)
        .unify()
        .or(health)
        .unify()
        .boxed()
}
