//! The secrets of stream tokens as processes use them: one signs, those before it are still believed for a while. Also ends
//! what was opened with tokens, when they are all taken back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_api::Problem;
use posthaste_runtime::{Clock, Stopper};
use posthaste_store::{Act, Store, StreamSecret};
use posthaste_types::KeyId;
use posthaste_types::limits::STREAM_SECRET_OVERLAP_S;
use serde_json::json;

use crate::keys::unavailable;
use crate::stream_token::{Claims, Signer};

/// Replaces the secret that stream tokens are signed with, in force on every process within a second. Tokens that are out
/// live to their end or, with `ends_tokens`, end now, with the streams that they have opened. They are every tenant's:
/// `tenant` is the one whose audit log tells of it.
///
/// # Errors
/// 503 when the record cannot be written.
pub async fn rotate_stream_secret(
    store: &Store,
    clock: &dyn Clock,
    tenant: &str,
    actor: String,
    ends_tokens: bool,
) -> Result<(), Problem> {
    let act = Act {
        tenant,
        actor,
        action: "stream_secret.rotate",
        details: json!({ "ends_tokens": ends_tokens }),
        at: clock.now(),
    };
    store
        .rotate_stream_secret(ends_tokens, &act)
        .await
        .map_err(unavailable)
}

/// A secret that signs no more.
struct Former {
    signer: Signer,
    /// No token that it signed in time expires later.
    last_expiry: DateTime<Utc>,
}

/// The secrets, as they were last read.
pub(crate) struct Secrets {
    read: Vec<StreamSecret>,
    present: Signer,
    former: Vec<Former>,
    streams: Arc<Streams>,
}

impl Secrets {
    /// Those of the record, the one that signs first, which come after `before`; none without any.
    pub(crate) fn new(read: Vec<StreamSecret>, before: Option<&Self>) -> Option<Self> {
        let (present, replaced) = read.split_first()?;
        let former = replaced.iter().filter_map(|secret| {
            Some(Former {
                signer: Signer::new(&secret.secret),
                last_expiry: secret.replaced_at? + TimeDelta::seconds(STREAM_SECRET_OVERLAP_S),
            })
        });
        let streams = before
            .filter(|before| before.is_believed_in(&read))
            .map(|before| Arc::clone(&before.streams));
        Some(Self {
            present: Signer::new(&present.secret),
            former: former.collect(),
            streams: streams.unwrap_or_default(),
            read,
        })
    }

    /// Whether what these sign now will be taken for as long as it lives.
    fn is_believed_in(&self, secrets: &[StreamSecret]) -> bool {
        let present = self.read.first().map(|present| &present.secret);
        secrets.iter().any(|secret| Some(&secret.secret) == present)
    }

    /// The token; none when it is longer than one may be.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        self.present.sign(claims)
    }

    /// What a token says, if it was signed by any process of ours and not taken back.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        self.present.verify(token).or_else(|| {
            self.former.iter().find_map(|former| {
                let claims = former.signer.verify(token)?;
                // Whoever stole it may sign still, but for no longer.
                (!claims.lives_past(former.last_expiry)).then_some(claims)
            })
        })
    }

    /// Stops when the streams of this key's tokens are to end: with the key, and when tokens are taken back.
    pub(crate) fn ended(&self, key: KeyId, key_ended: &Stopper) -> Stopper {
        self.streams.of(key, key_ended)
    }

    /// Ends what was opened with these, unless `next` goes on believing in them.
    pub(crate) fn end_unless_in(&self, next: Option<&Self>) {
        if next.is_none_or(|next| !Arc::ptr_eq(&self.streams, &next.streams)) {
            self.streams.end();
        }
    }
}

/// What ends streams that tokens opened, by the tokens' keys.
#[derive(Default)]
struct Streams(Mutex<Open>);

#[derive(Default)]
struct Open {
    is_ended: bool,
    by_key: HashMap<KeyId, Stopper>,
}

impl Streams {
    fn of(&self, key: KeyId, key_ended: &Stopper) -> Stopper {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ended = open.is_ended;
        let known = open.by_key.entry(key).or_insert_with(|| key_ended.child());
        if known.is_stopped() {
            // The key was brought back.
            *known = key_ended.child();
        }
        if is_ended {
            known.stop();
        }
        known.clone()
    }

    fn end(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_ended = true;
        open.by_key.values().for_each(Stopper::stop);
    }
}
