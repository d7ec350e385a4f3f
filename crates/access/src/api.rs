//! What the routes answer. Knows no path and no SQL.

use std::sync::Arc;

use chrono::TimeDelta;
use posthaste_api::{AuditPage, KeyPage, NewKey, NewStreamToken, Problem, RotateKey, StreamToken};
use posthaste_http::{Actor, Caller, HttpResponse, Query, StreamGrant, empty, json};
use posthaste_runtime::Clock;
use posthaste_store::{AuditEntry, AuditFilter, Store};
use posthaste_types::limits::{CHANNEL_BYTES_MAX, STREAM_TOKEN_CHANNEL_COUNT_MAX, STREAM_TOKEN_S_MAX};
use posthaste_types::{ErrorCode, KeyId};
use serde_json::Value;
use warp::http::header::LOCATION;
use warp::http::{HeaderValue, StatusCode};

use crate::keys::{Issued, Keys, invalid, key_view, key_views, listed_id, unavailable};
use crate::page;
use crate::stream_token::Claims;
use crate::watch::Watch;

/// What the routes need.
pub(crate) struct Api {
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watch: Arc<Watch>,
}

type Answer = Result<HttpResponse, Problem>;

impl Api {
    /// `POST /v1/keys`.
    pub(crate) async fn create(&self, caller: &Caller, new: NewKey) -> Answer {
        let actor = caller.actor().to_string();
        let issued = self.keys.create(caller.tenant(), actor, new).await?;
        self.answer_issued(issued).await
    }

    /// `POST /v1/keys/{id}/rotate`.
    pub(crate) async fn rotate(&self, caller: &Caller, id: &str, rotate: RotateKey) -> Answer {
        let actor = caller.actor().to_string();
        let issued = self
            .keys
            .rotate(caller.tenant(), actor, parse_id(id)?, rotate.overlap_s);
        self.answer_issued(issued.await?).await
    }

    /// `DELETE /v1/keys/{id}`.
    pub(crate) async fn revoke(&self, caller: &Caller, id: &str) -> Answer {
        let actor = caller.actor().to_string();
        self.keys.revoke(caller.tenant(), actor, parse_id(id)?).await?;
        self.note_change().await;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// `GET /v1/keys`.
    pub(crate) async fn list(&self, caller: &Caller, mut query: Query) -> Answer {
        let limit = page::limit(&mut query)?;
        let before = query.parsed("cursor")?;
        query.end()?;
        let mut rows = self.keys.list(caller.tenant(), before, limit + 1).await?;
        let next = page::cut(&mut rows, limit, listed_id);
        let (keys, unreadable) = key_views(rows);
        let page = KeyPage {
            keys,
            unreadable,
            next,
            usable_admin_keys: self.keys.count_usable_admin(caller.tenant()).await?,
        };
        Ok(json(StatusCode::OK, &page))
    }

    /// `GET /v1/keys/{id}`.
    pub(crate) async fn one(&self, caller: &Caller, id: &str) -> Answer {
        let row = self.keys.one(caller.tenant(), parse_id(id)?).await?;
        Ok(json(StatusCode::OK, &key_view(row)))
    }

    /// `POST /v1/stream-tokens`.
    pub(crate) fn stream_token(&self, caller: &Caller, new: NewStreamToken) -> Answer {
        let ttl_s = new.ttl_s.unwrap_or(STREAM_TOKEN_S_MAX);
        if !(1..=STREAM_TOKEN_S_MAX).contains(&ttl_s) {
            return Err(invalid(
                "/ttl_s",
                format!("must be from 1 to {STREAM_TOKEN_S_MAX}"),
            ));
        }
        let grant = grant(new)?;
        let key = match caller.actor() {
            Actor::Key { id, .. } | Actor::StreamToken { id } => *id,
            // An open door takes any token; one that asks for keys takes none of no key.
            Actor::Open => KeyId::from_uuid(Default::default()),
        };
        let expires_at = self.clock.now() + TimeDelta::seconds(ttl_s.cast_signed());
        let claims = Claims::new(caller.tenant(), key, grant, expires_at);
        let directory = self.watch.directory();
        let secrets = directory.stream_secrets.as_ref().ok_or_else(|| {
            let detail = "stream tokens cannot be given out yet; try again in a moment";
            Problem::new(ErrorCode::Unavailable, detail)
        })?;
        let token = secrets
            .sign(&claims)
            .ok_or_else(|| invalid("/channels", "are too long for one token; ask for several"))?;
        let answer = StreamToken { token, expires_at };
        Ok(json(StatusCode::CREATED, &answer))
    }

    /// `GET /v1/audit`.
    pub(crate) async fn audit(&self, caller: &Caller, mut query: Query) -> Answer {
        let limit = page::limit(&mut query)?;
        let filter = AuditFilter {
            tenant: Some(caller.tenant().to_owned()),
            action: query.one("action")?,
            before: query.parsed("cursor")?,
        };
        query.end()?;
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut entries = self.store.audit(&filter, wanted).await.map_err(unavailable)?;
        let next = page::cut(&mut entries, limit, |entry| entry.id);
        let entries = entries.into_iter().map(entry_view).collect();
        Ok(json(StatusCode::OK, &AuditPage { entries, next }))
    }

    async fn answer_issued(&self, issued: Issued) -> Answer {
        self.note_change().await;
        let location = format!("/v1/keys/{}", issued.row.id);
        let mut response = json(StatusCode::CREATED, &issued.into_view());
        let location = HeaderValue::try_from(location).expect("an id is header text");
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }

    /// This process sees a change before it answers, so that the caller may use a new key, or rely on one being gone, at
    /// once; others see it soon.
    async fn note_change(&self) {
        if let Err(error) = self.watch.refresh().await {
            tracing::debug!(%error, "keys are read again later");
        }
    }
}

fn parse_id(id: &str) -> Result<KeyId, Problem> {
    id.parse()
        .map_err(|_| Problem::new(ErrorCode::NotFound, "there is no such key"))
}

fn grant(new: NewStreamToken) -> Result<StreamGrant, Problem> {
    let channels = match (new.channels, new.task) {
        (None, Some(task)) => return Ok(StreamGrant::Task(task)),
        (Some(channels), None) => channels,
        _ => {
            let detail = "name either `channels` or `task`";
            return Err(Problem::new(ErrorCode::InvalidRequest, detail).with_field("", detail));
        }
    };
    let is_channel = |name: &String| (1..=CHANNEL_BYTES_MAX).contains(&name.len()) && !name.contains('\0');
    if !(1..=STREAM_TOKEN_CHANNEL_COUNT_MAX).contains(&channels.len()) || !channels.iter().all(is_channel) {
        let detail = format!(
            "must be 1 to {STREAM_TOKEN_CHANNEL_COUNT_MAX} names of 1 to {CHANNEL_BYTES_MAX} bytes each, without U+0000"
        );
        return Err(invalid("/channels", detail));
    }
    Ok(StreamGrant::Channels(channels))
}

fn entry_view(entry: AuditEntry) -> posthaste_api::AuditEntry {
    posthaste_api::AuditEntry {
        id: entry.id,
        at: entry.at,
        actor: entry.actor,
        action: entry.action,
        object: entry.object,
        details: match entry.details {
            Value::Object(details) => details,
            _ => serde_json::Map::new(),
        },
    }
}
