//! The keys in memory: a snapshot that is replaced as a whole when something changes. Reads no database and no clock.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use posthaste_api::Problem;
use posthaste_http::{Actor, Caller, unauthenticated};
use posthaste_store::{AccessChanges, ApiKeyRow};
use posthaste_types::limits::{DEAD_KEY_COUNT_MAX, DEAD_KEY_DAYS};
use posthaste_types::{ApiKey, KeyHash, KeyId};
use subtle::ConstantTimeEq as _;

use crate::quotas::Quotas;
use crate::stream_secrets::Secrets;
use crate::usage::LastUse;

/// A key as requests need it.
pub(crate) struct Entry {
    pub(crate) id: KeyId,
    prefix: Box<str>,
    hash: KeyHash,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    /// Who comes in with it; carries the signal that ends what they have open.
    pub(crate) caller: Caller,
    pub(crate) last_use: Arc<LastUse>,
}

/// The revision of a directory that nothing was read into.
pub(crate) const UNREAD: i64 = -1;

/// Who may come in, as it was last read.
#[derive(Clone)]
pub(crate) struct Directory {
    /// The last change that is in it; [`UNREAD`] before anything was read.
    pub(crate) revision: i64,
    by_prefix: HashMap<Box<str>, Arc<Entry>>,
    by_id: HashMap<KeyId, Arc<Entry>>,
    /// What stream tokens are signed with; none before anything was read.
    pub(crate) stream_secrets: Option<Arc<Secrets>>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            revision: UNREAD,
            by_prefix: HashMap::new(),
            by_id: HashMap::new(),
            stream_secrets: None,
        }
    }
}

impl Entry {
    fn new(row: ApiKeyRow, quotas: &Quotas, earlier: Option<&Entry>) -> Self {
        let ended = earlier
            .map(|entry| entry.caller.ended().clone())
            // One that was brought back by hand begins anew: what its death ended stays ended.
            .filter(|ended| !ended.is_stopped())
            .unwrap_or_default();
        let actor = Actor::Key {
            id: row.id,
            prefix: row.prefix.as_str().into(),
        };
        let quota = quotas.of(&row.tenant);
        Self {
            id: row.id,
            hash: row.hash,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            caller: Caller::new(row.tenant.into(), row.scopes, actor, quota).until(ended),
            prefix: row.prefix.into(),
            last_use: earlier
                .map(|entry| Arc::clone(&entry.last_use))
                .unwrap_or_default(),
        }
    }

    /// 401 when it is revoked or has expired. To be asked only for someone who has proved to hold it.
    pub(crate) fn check(&self, now: DateTime<Utc>) -> Result<(), Problem> {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        if let Some(at) = self.revoked_at {
            let detail = format!("this key was revoked at {}; use another", time(at));
            return Err(unauthenticated(detail));
        }
        match self.expires_at {
            Some(at) if at <= now => {
                let detail = format!("this key expired at {}; use another", time(at));
                Err(unauthenticated(detail))
            }
            _ => Ok(()),
        }
    }

    fn died_at(&self) -> Option<DateTime<Utc>> {
        self.revoked_at.into_iter().chain(self.expires_at).min()
    }
}

impl Directory {
    /// This one with what has changed since.
    pub(crate) fn changed(&self, changes: AccessChanges, quotas: &Quotas, now: DateTime<Utc>) -> Self {
        self.clone().with(changes, self, quotas, now)
    }

    /// What was read is all there is; of this one callers keep what they hold.
    pub(crate) fn replaced(&self, all: AccessChanges, quotas: &Quotas, now: DateTime<Utc>) -> Self {
        Self::default().with(all, self, quotas, now)
    }

    fn with(mut self, changes: AccessChanges, before: &Self, quotas: &Quotas, now: DateTime<Utc>) -> Self {
        self.revision = changes.revision;
        let secrets = Secrets::new(changes.stream_secrets, before.stream_secrets.as_deref());
        self.stream_secrets = secrets.map(Arc::new);
        for row in changes.keys {
            let earlier = before.by_id.get(&row.id).map(Arc::as_ref);
            let entry = Arc::new(Entry::new(row, quotas, earlier));
            self.by_prefix.insert(entry.prefix.clone(), Arc::clone(&entry));
            self.by_id.insert(entry.id, entry);
        }
        for id in changes.unreadable_keys {
            self.remove(id);
        }
        self.forget_dead(now);
        self
    }

    /// Keeps the dead that died last, for some days and up to a count: they are there for a nicer refusal alone.
    fn forget_dead(&mut self, now: DateTime<Utc>) {
        let died = |entry: &Arc<Entry>| Some((entry.died_at().filter(|at| *at <= now)?, entry.id));
        let mut dead: Vec<_> = self.by_id.values().filter_map(died).collect();
        dead.sort_unstable_by_key(|&(at, _)| Reverse(at));
        let since = now - TimeDelta::days(DEAD_KEY_DAYS);
        let kept = dead
            .partition_point(|&(at, _)| at > since)
            .min(DEAD_KEY_COUNT_MAX);
        for (_, id) in dead.drain(kept..) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: KeyId) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_prefix.remove(&entry.prefix);
        }
    }

    /// Ends what callers have open whose keys, or the secrets of whose tokens, `next` knows no more.
    pub(crate) fn end_missing(&self, next: &Self) {
        if let Some(secrets) = &self.stream_secrets {
            secrets.end_unless_in(next.stream_secrets.as_deref());
        }
        for (id, entry) in &self.by_id {
            if !next.by_id.contains_key(id) {
                entry.caller.ended().stop();
            }
        }
    }

    /// The key, if this is its whole text; whether it can still be used is another question.
    pub(crate) fn find(&self, key: &ApiKey) -> Option<&Arc<Entry>> {
        let entry = self.by_prefix.get(key.prefix())?;
        let is_same: bool = entry.hash.0.ct_eq(&key.hash().0).into();
        is_same.then_some(entry)
    }

    /// A key by its id, for who has proved to know it by other means.
    pub(crate) fn by_id(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.by_id.get(&id)
    }

    /// Ends what callers with dead keys have open; the time at which the next key expires.
    pub(crate) fn end_dead(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut next = None;
        for entry in self.by_id.values() {
            if entry.check(now).is_err() {
                entry.caller.ended().stop();
            } else if let Some(at) = entry.expires_at {
                next = Some(next.map_or(at, |next: DateTime<Utc>| next.min(at)));
            }
        }
        next
    }

    /// Every key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_id.values()
    }
}
