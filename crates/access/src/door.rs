//! Finds out who sends a request, from memory.

use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_http::{Actor, Authenticator, Caller, Credentials, no_credentials, unauthenticated};
use posthaste_runtime::Clock;
use posthaste_types::{ApiKey, ErrorCode};

use crate::watch::Watch;

/// Asks for a key, or for a stream token.
pub(crate) struct KeyDoor {
    pub(crate) watch: Arc<Watch>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Authenticator for KeyDoor {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match credentials {
            Credentials::None => Err(no_credentials()),
            Credentials::Bearer(text) => self.by_key(text),
            Credentials::Token(text) => self.by_token(text),
        }
    }
}

impl KeyDoor {
    fn by_key(&self, text: &str) -> Result<Caller, Problem> {
        let key = ApiKey::parse(text).map_err(|error| unauthenticated(error.to_string()))?;
        let now = self.clock.now();
        let directory = self.watch.fresh_directory().ok_or_else(unknown_now)?;
        let entry = directory
            .find(&key)
            .ok_or_else(|| unauthenticated("there is no such key; use another"))?;
        entry.check(now)?;
        entry.last_use.note(now);
        Ok(entry.caller.clone())
    }

    fn by_token(&self, text: &str) -> Result<Caller, Problem> {
        let now = self.clock.now();
        let directory = self.watch.fresh_directory().ok_or_else(unknown_now)?;
        let secrets = directory.stream_secrets.as_ref().ok_or_else(unknown_now)?;
        let claims = secrets.verify(text).ok_or_else(|| {
            unauthenticated("this is no stream token of this server, or was taken back; ask for one")
        })?;
        if claims.is_expired(now) {
            return Err(unauthenticated("this stream token has expired; ask for another"));
        }
        let entry = directory
            .by_id(claims.key)
            .filter(|entry| entry.check(now).is_ok() && entry.caller.tenant() == claims.tenant)
            .ok_or_else(|| unauthenticated("the key that this stream token came from is gone"))?;
        entry.last_use.note(now);
        let caller = &entry.caller;
        let actor = Actor::StreamToken { id: entry.id };
        let tenant = claims.tenant.as_str().into();
        Ok(
            Caller::with_grant(tenant, actor, claims.into_grant(), Arc::clone(caller.quota()))
                .until(secrets.ended(entry.id, caller.ended())),
        )
    }
}

/// Nobody can be told apart now: neither let in nor told that their key is wrong.
fn unknown_now() -> Problem {
    Problem::new(
        ErrorCode::Unavailable,
        "keys cannot be checked now, since the database is away; try again in a moment",
    )
}
