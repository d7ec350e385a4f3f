//! What the endpoint routes answer. Knows no path and no SQL.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::{
    Attempt, AttemptPage, EndpointPage, EndpointPatch, EndpointSecret, NewEndpoint, Problem,
};
use posthaste_http::{Caller, HttpResponse, Query, empty, json};
use posthaste_runtime::{Clock, ids};
use posthaste_store::{
    ATTEMPT_FAILED, ATTEMPT_SUCCEEDED, Act, AttemptFilter, Endpoint, Error, Store, WebhookAttempt,
};
use posthaste_types::limits::{ENDPOINT_COUNT_MAX, PAGE_ATTEMPT_COUNT};
use posthaste_types::{AttemptId, EndpointId, ErrorCode, Scope};
use serde_json::{Value, json};
use url::Url;
use warp::http::header::LOCATION;
use warp::http::{HeaderValue, StatusCode};

use crate::webhook::address::Policy;
use crate::webhook::deliver::Deliverer;
use crate::webhook::directory::{Directories, Target};
use crate::webhook::sample;
use crate::webhook::settings::{self, Identity};
use crate::webhook::signature;

/// Times that a change is made again from what another has just stored.
const UPDATE_TRY_COUNT: usize = 5;
const COUNT_MAX: u32 = ENDPOINT_COUNT_MAX as u32;
/// Stands for a value that the caller may not see.
const HIDDEN: &str = "***";

/// What the routes need.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) directories: Arc<Directories>,
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
}

type Answer = Result<HttpResponse, Problem>;

impl Api {
    /// `POST /v1/endpoints`.
    pub(crate) async fn create(&self, caller: &Caller, new: NewEndpoint) -> Answer {
        let identity = Identity {
            id: ids::endpoint_id(),
            tenant: caller.tenant().to_owned(),
            key: signature::new_key(),
            created_at: self.clock.now(),
        };
        let endpoint = settings::endpoint(new, identity, self.policy)?;
        let count_max = count_max(caller);
        let act = self.act(caller, "endpoint.create", audited(&endpoint));
        let added = self.store.add_endpoint(&endpoint, count_max, &act).await;
        if !added.map_err(unavailable)? {
            let detail = format!("there are {count_max} endpoints already, as many as may be; delete one");
            return Err(Problem::new(ErrorCode::TooManyRequests, detail));
        }
        self.note_change().await;
        let location = format!("/v1/endpoints/{}", endpoint.id);
        let secret = Some(signature::key_text(&endpoint.key));
        let view = posthaste_api::Endpoint {
            secret,
            ..view(endpoint)
        };
        let mut response = json(StatusCode::CREATED, &view);
        response.headers_mut().insert(
            LOCATION,
            HeaderValue::try_from(location).expect("an id is header text"),
        );
        Ok(response)
    }

    /// `GET /v1/endpoints`.
    pub(crate) async fn list(&self, caller: &Caller, query: Query) -> Answer {
        query.end()?;
        let endpoints = self.store.endpoints(caller.tenant()).await.map_err(unavailable)?;
        Ok(json(
            StatusCode::OK,
            &EndpointPage {
                endpoints: endpoints
                    .into_iter()
                    .map(|endpoint| view_for(caller, endpoint))
                    .collect(),
            },
        ))
    }

    /// `GET /v1/endpoints/{id}`.
    pub(crate) async fn one(&self, caller: &Caller, id: &str) -> Answer {
        let endpoint = self.find(caller, id).await?;
        Ok(json(StatusCode::OK, &view_for(caller, endpoint)))
    }

    /// `GET /v1/endpoints/{id}/secret`.
    pub(crate) async fn secret(&self, caller: &Caller, id: &str) -> Answer {
        let endpoint = self.find(caller, id).await?;
        self.note(caller, "endpoint.secret", endpoint.id).await?;
        let secret = EndpointSecret {
            secret: signature::key_text(&endpoint.key),
        };
        Ok(json(StatusCode::OK, &secret))
    }

    /// `PATCH /v1/endpoints/{id}`.
    pub(crate) async fn patch(&self, caller: &Caller, id: &str, body: &Bytes) -> Answer {
        for _ in 0..UPDATE_TRY_COUNT {
            let patch: EndpointPatch = posthaste_http::parse_json(body, "")?;
            let stored = self.find(caller, id).await?;
            let identity = Identity {
                id: stored.id,
                tenant: stored.tenant.clone(),
                key: stored.key.clone(),
                created_at: stored.created_at,
            };
            let changed = settings::endpoint(settings::patched(patch, &stored), identity, self.policy)?;
            let (enabled, disabled_reason) = (stored.enabled, stored.disabled_reason);
            let changed = Endpoint {
                enabled,
                disabled_reason,
                updated_at: self.clock.now(),
                ..changed
            };
            let act = self.act(caller, "endpoint.update", audited(&changed));
            if self
                .store
                .update_endpoint(&changed, stored.updated_at, &act)
                .await
                .map_err(unavailable)?
            {
                self.note_change().await;
                return Ok(json(StatusCode::OK, &view(changed)));
            }
        }
        Err(Problem::new(
            ErrorCode::StateConflict,
            "others keep changing this endpoint; try again",
        ))
    }

    /// `DELETE /v1/endpoints/{id}`.
    pub(crate) async fn delete(&self, caller: &Caller, id: &str) -> Answer {
        let id = parse_id(id)?;
        let act = self.act(caller, "endpoint.delete", json!({}));
        if !self.store.delete_endpoint(id, &act).await.map_err(unavailable)? {
            return Err(not_found());
        }
        self.note_change().await;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// `POST /v1/endpoints/{id}/enable` and `/disable`.
    pub(crate) async fn set_enabled(&self, caller: &Caller, id: &str, enabled: bool) -> Answer {
        let id = parse_id(id)?;
        let action = if enabled {
            "endpoint.enable"
        } else {
            "endpoint.disable"
        };
        let act = self.act(caller, action, json!({}));
        let changed = self.store.set_endpoint_enabled(id, enabled, None, &act);
        let endpoint = changed.await.map_err(unavailable)?.ok_or_else(not_found)?;
        self.note_change().await;
        Ok(json(StatusCode::OK, &view(endpoint)))
    }

    /// `POST /v1/endpoints/{id}/test`: one attempt with a made-up event, enabled or not; answers what came of it.
    pub(crate) async fn test(&self, caller: &Caller, id: &str) -> Answer {
        let endpoint = self.find(caller, id).await?;
        self.note(caller, "endpoint.test", endpoint.id).await?;
        let delivery = sample::delivery(&endpoint, self.clock.now());
        let target =
            Target::new(endpoint).ok_or_else(|| Problem::new(ErrorCode::StateConflict, "its URL is none"))?;
        let attempt = self
            .deliverer
            .try_out(&target, delivery)
            .await
            .map_err(unavailable)?;
        Ok(json(StatusCode::OK, &attempt_view(attempt)))
    }

    /// `GET /v1/endpoints/{id}/attempts`.
    pub(crate) async fn attempts(&self, caller: &Caller, id: &str, mut query: Query) -> Answer {
        let status = query.one("status")?;
        if status
            .as_deref()
            .is_some_and(|status| ![ATTEMPT_SUCCEEDED, ATTEMPT_FAILED].contains(&status))
        {
            let detail = format!("`status` must be `{ATTEMPT_SUCCEEDED}` or `{ATTEMPT_FAILED}`");
            return Err(Problem::new(ErrorCode::InvalidParameter, detail));
        }
        let since = query.time("since")?;
        let before: Option<AttemptId> = query.parsed("cursor")?;
        query.end()?;
        let endpoint = self.find(caller, id).await?;
        let filter = AttemptFilter {
            status,
            since,
            before,
        };
        let wanted = PAGE_ATTEMPT_COUNT + 1;
        let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
        let mut found = self
            .store
            .webhook_attempts(endpoint.id, &filter, limit)
            .await
            .map_err(unavailable)?;
        let is_more = found.len() == wanted;
        found.truncate(PAGE_ATTEMPT_COUNT);
        let next = found
            .last()
            .filter(|_| is_more)
            .map(|attempt| attempt.id.to_string());
        let attempts = found.into_iter().map(attempt_view).collect();
        Ok(json(StatusCode::OK, &AttemptPage { attempts, next }))
    }

    async fn find(&self, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
        let found = self.store.endpoint(caller.tenant(), parse_id(id)?).await;
        found.map_err(unavailable)?.ok_or_else(not_found)
    }

    fn act<'caller>(&self, caller: &'caller Caller, action: &'static str, details: Value) -> Act<'caller> {
        Act {
            tenant: caller.tenant(),
            actor: caller.actor().to_string(),
            action,
            details,
            at: self.clock.now(),
        }
    }

    /// Notes an act that changes nothing in the record, before it is done: none goes without its entry.
    async fn note(&self, caller: &Caller, action: &'static str, id: EndpointId) -> Result<(), Problem> {
        let act = self.act(caller, action, json!({}));
        self.store.note_act(&act, id).await.map_err(unavailable)
    }

    /// This process sees a change at once, so that a caller that has its answer misses no event; others see it soon.
    async fn note_change(&self) {
        if let Err(error) = self.directories.refresh().await {
            tracing::debug!(%error, "the endpoints are read again later");
        }
    }
}

/// How many endpoints the caller's tenant may have.
fn count_max(caller: &Caller) -> u32 {
    let own = caller.quota().limits().endpoints;
    own.map_or(COUNT_MAX, |own| own.min(COUNT_MAX))
}

/// What the audit log tells of an endpoint's settings. Headers may hold passwords, so their names alone; so may a URL's
/// user and query, so it goes without them.
fn audited(endpoint: &Endpoint) -> Value {
    json!({
        "url": url_audited(&endpoint.url),
        "events": endpoint.events,
        "channels": endpoint.channels,
        "types": endpoint.types,
        "description": endpoint.description,
        "headers": endpoint.headers.keys().collect::<Vec<_>>(),
        "rate_per_s": endpoint.rate_per_s,
        "max_in_flight": endpoint.max_in_flight,
        "ordered": endpoint.ordered,
        "signing": endpoint.signing,
    })
}

/// Origin and path; none of a text that is no URL, since what that holds cannot be told.
fn url_audited(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(url.origin().ascii_serialization() + url.path())
}

fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is no such endpoint")
}

fn parse_id(id: &str) -> Result<EndpointId, Problem> {
    id.parse().map_err(|_| not_found())
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to `map_err`")]
fn unavailable(error: Error) -> Problem {
    let (code, detail) = error.refusal();
    Problem::new(code, detail)
}

/// The endpoint as `caller` may see it: the values of headers, which may be passwords, are for admins.
fn view_for(caller: &Caller, endpoint: Endpoint) -> posthaste_api::Endpoint {
    let mut view = view(endpoint);
    if !caller.scopes().allows(Scope::Admin) {
        view.headers
            .values_mut()
            .for_each(|value| *value = HIDDEN.to_owned());
    }
    view
}

fn view(endpoint: Endpoint) -> posthaste_api::Endpoint {
    posthaste_api::Endpoint {
        id: endpoint.id,
        url: endpoint.url,
        events: endpoint.events,
        channels: endpoint.channels,
        types: endpoint.types,
        description: endpoint.description,
        headers: endpoint.headers,
        rate_per_s: endpoint.rate_per_s,
        max_in_flight: u32::try_from(endpoint.max_in_flight).unwrap_or(1),
        ordered: endpoint.ordered,
        signing: endpoint.signing,
        enabled: endpoint.enabled,
        disabled_reason: endpoint.disabled_reason,
        created_at: endpoint.created_at,
        secret: None,
    }
}

fn attempt_view(attempt: WebhookAttempt) -> Attempt {
    Attempt {
        id: attempt.id,
        event: attempt.event_id,
        kind: attempt.kind,
        task: attempt.task_id,
        number: attempt.number,
        status: attempt.status,
        http_status: attempt.http_status.and_then(|status| u16::try_from(status).ok()),
        error: attempt.error,
        answer: attempt.answer,
        took_ms: attempt.took_ms,
        at: attempt.at,
        next_at: attempt.next_at,
    }
}
