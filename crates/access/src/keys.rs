//! Making, rotating and revoking keys: for the routes and for `posthaste keys` alike.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, SubsecRound as _, TimeDelta, Utc};
use posthaste_api::{Key, NewKey, Problem};
use posthaste_runtime::{Clock, ids};
use posthaste_store::{Act, ApiKeyRow, Error, ErrorKind, KeyChange, Store};
use posthaste_types::limits::{KEY_COUNT_MAX, KEY_NAME_BYTES_MAX, KEY_OVERLAP_S_DEFAULT, KEY_OVERLAP_S_MAX};
use posthaste_types::{ApiKey, ErrorCode, KeyId, Scope, Scopes};
use serde_json::json;

/// The last year in which a key can expire: the last that RFC 3339 can write.
const YEAR_MAX: i32 = 9999;

/// Times that a key is made anew when its prefix is taken: once in a hundred thousand million is often.
const TRY_COUNT: usize = 3;

/// The keys of the record. Every problem tells what to do about it.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    clock: Arc<dyn Clock>,
}

/// A key that was just made: the only moment at which its text is known.
#[derive(Debug)]
pub struct Issued {
    /// The whole key.
    pub key: ApiKey,
    /// What is stored of it.
    pub row: ApiKeyRow,
}

impl Issued {
    /// The answer to its creation, which alone has the key itself.
    pub fn into_view(self) -> Key {
        Key {
            key: Some(self.key.expose().to_owned()),
            ..key_view(self.row)
        }
    }
}

/// A stored key as callers see it.
pub fn key_view(row: ApiKeyRow) -> Key {
    Key {
        id: row.id,
        name: row.name,
        prefix: row.prefix,
        scopes: row.scopes.iter().collect(),
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
        rotated_from: row.rotated_from,
        key: None,
    }
}

/// Listed keys as callers see them, and the ids of those that cannot be read.
pub fn key_views(listed: Vec<Result<ApiKeyRow, KeyId>>) -> (Vec<Key>, Vec<KeyId>) {
    let (mut keys, mut unreadable) = (Vec::with_capacity(listed.len()), Vec::new());
    for listed in listed {
        match listed {
            Ok(row) => keys.push(key_view(row)),
            Err(id) => unreadable.push(id),
        }
    }
    (keys, unreadable)
}

/// The id of a key as it is listed.
pub fn listed_id(listed: &Result<ApiKeyRow, KeyId>) -> KeyId {
    match listed {
        Ok(row) => row.id,
        Err(id) => *id,
    }
}

impl Keys {
    /// Those of a record.
    pub const fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Makes a key of `tenant`; `actor` is for the audit log.
    ///
    /// # Errors
    /// 400 for a name, scopes or a time that a key cannot have, 429 when there are as many keys as may be, 503 when the
    /// record cannot be written.
    pub async fn create(&self, tenant: &str, actor: String, new: NewKey) -> Result<Issued, Problem> {
        let now = self.clock.now();
        let new = checked(new, now)?;
        let draft = Draft {
            tenant,
            name: &new.name,
            scopes: new.scopes.iter().copied().collect(),
            expires_at: new.expires_at,
            replaces: None,
            now,
        };
        let act = Act {
            tenant,
            actor,
            action: "key.create",
            details: json!({ "name": new.name, "scopes": new.scopes, "expires_at": new.expires_at }),
            at: now,
        };
        self.store_new(&draft, &act).await
    }

    /// Makes a key in another's place: with its name and scopes, and a life as long as that one's. The old one goes on
    /// for `overlap_s`, a day when that is absent, and never longer than it would have.
    ///
    /// # Errors
    /// 404 when the tenant has no such key, 409 when it is dead; else as [`Self::create`].
    pub async fn rotate(
        &self,
        tenant: &str,
        actor: String,
        id: KeyId,
        overlap_s: Option<u64>,
    ) -> Result<Issued, Problem> {
        let overlap_s = overlap_s.unwrap_or(KEY_OVERLAP_S_DEFAULT);
        if overlap_s > KEY_OVERLAP_S_MAX {
            let detail = format!("must be at most {KEY_OVERLAP_S_MAX}");
            return Err(invalid("/overlap_s", detail));
        }
        let now = self.clock.now();
        let old = self.one(tenant, id).await?;
        let draft = Draft {
            tenant,
            name: &old.name,
            scopes: old.scopes,
            expires_at: old
                .expires_at
                .map(|at| (now + (at - old.created_at)).min(last_expiry())),
            replaces: Some((id, now + TimeDelta::seconds(overlap_s.cast_signed()))),
            now,
        };
        let act = Act {
            tenant,
            actor,
            action: "key.rotate",
            details: json!({ "rotated_from": id, "overlap_s": overlap_s }),
            at: now,
        };
        self.store_new(&draft, &act).await
    }

    /// Revokes a key at once; one that is revoked stays so.
    ///
    /// # Errors
    /// 404 when the tenant has no such key, 503 when the record cannot be written.
    pub async fn revoke(&self, tenant: &str, actor: String, id: KeyId) -> Result<(), Problem> {
        let act = Act {
            tenant,
            actor,
            action: "key.revoke",
            details: json!({}),
            at: self.clock.now(),
        };
        match self.store.revoke_key(id, &act).await.map_err(unavailable)? {
            KeyChange::Done => Ok(()),
            KeyChange::NoSuchKey | KeyChange::TooMany => Err(not_found()),
        }
    }

    /// One key.
    ///
    /// # Errors
    /// 404 when the tenant has no such key, 503 when the record cannot be read.
    pub async fn one(&self, tenant: &str, id: KeyId) -> Result<ApiKeyRow, Problem> {
        let found = self.store.key(tenant, id).await.map_err(unavailable)?;
        found.ok_or_else(not_found)
    }

    /// The tenant whose key it is: for the operator, who may have nothing of a key but its id.
    ///
    /// # Errors
    /// 404 when no tenant has such a key, 503 when the record cannot be read.
    pub async fn owner(&self, id: KeyId) -> Result<String, Problem> {
        let tenant = self.store.key_tenant(id).await.map_err(unavailable)?;
        tenant.ok_or_else(not_found)
    }

    /// Up to `limit` keys, the newest first; only older ones than `before`. One that cannot be read is an id alone.
    ///
    /// # Errors
    /// 503 when the record cannot be read.
    pub async fn list(
        &self,
        tenant: &str,
        before: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<Result<ApiKeyRow, KeyId>>, Problem> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let keys = self.store.keys(tenant, before, limit).await;
        keys.map_err(unavailable)
    }

    /// How many keys of the tenant with the scope `admin` can be used now.
    ///
    /// # Errors
    /// 503 when the record cannot be read.
    pub async fn count_usable_admin(&self, tenant: &str) -> Result<u64, Problem> {
        let count = self.store.count_usable_admin_keys(tenant, self.clock.now());
        count.await.map_err(unavailable)
    }

    async fn store_new(&self, draft: &Draft<'_>, act: &Act<'_>) -> Result<Issued, Problem> {
        for tries_left in (0..TRY_COUNT).rev() {
            let issued = draft.issue();
            let stored = match draft.replaces {
                None => self.store.add_key(&issued.row, act).await,
                Some((_, old_ends)) => self.store.rotate_key(&issued.row, old_ends, act).await,
            };
            match stored {
                Ok(KeyChange::Done) => return Ok(issued),
                Ok(KeyChange::NoSuchKey) => {
                    let detail = "this key is revoked or has expired; make a new one";
                    return Err(Problem::new(ErrorCode::StateConflict, detail));
                }
                Ok(KeyChange::TooMany) => {
                    let detail = format!("there are {KEY_COUNT_MAX} keys in use already; revoke one");
                    return Err(Problem::new(ErrorCode::TooManyRequests, detail));
                }
                Err(error) if error.kind() == ErrorKind::BadRow && tries_left > 0 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        unreachable!("the last try returns")
    }
}

/// A key that is to be made.
struct Draft<'request> {
    tenant: &'request str,
    name: &'request str,
    scopes: Scopes,
    expires_at: Option<DateTime<Utc>>,
    /// The key in whose place it comes, and when that one ends.
    replaces: Option<(KeyId, DateTime<Utc>)>,
    now: DateTime<Utc>,
}

impl Draft<'_> {
    fn issue(&self) -> Issued {
        let key = ApiKey::from_random(&rand::random());
        let row = ApiKeyRow {
            id: ids::key_id(),
            tenant: self.tenant.to_owned(),
            name: self.name.to_owned(),
            prefix: key.prefix().to_owned(),
            hash: key.hash(),
            scopes: self.scopes,
            created_at: self.now,
            expires_at: self.expires_at,
            revoked_at: None,
            last_used_at: None,
            rotated_from: self.replaces.map(|(id, _)| id),
        };
        Issued { key, row }
    }
}

/// The last moment of [`YEAR_MAX`], as exactly as the record keeps times.
fn last_expiry() -> DateTime<Utc> {
    NaiveDate::from_yo_opt(YEAR_MAX, 365)
        .and_then(|day| day.and_hms_micro_opt(23, 59, 59, 999_999))
        .expect("it is a moment of a common year")
        .and_utc()
}

/// The request with what the record can keep, or what is wrong with it.
fn checked(new: NewKey, now: DateTime<Utc>) -> Result<NewKey, Problem> {
    let name_len = 1..=KEY_NAME_BYTES_MAX;
    if !name_len.contains(&new.name.len()) || new.name.chars().any(char::is_control) {
        let detail = format!("must have 1 to {KEY_NAME_BYTES_MAX} bytes, without control characters");
        return Err(invalid("/name", detail));
    }
    if new.scopes.is_empty() {
        let known = Scope::ALL.map(Scope::as_str).join("`, `");
        return Err(invalid("/scopes", format!("name at least one of `{known}`")));
    }
    let expires_at = new.expires_at.map(|at| at.trunc_subsecs(6));
    // A leap second of its last minute is past it too: the database would keep it as the next year's first.
    if expires_at.is_some_and(|at| at <= now || at > last_expiry()) {
        return Err(invalid(
            "/expires_at",
            "must be in the future, before the year 10000",
        ));
    }
    Ok(NewKey { expires_at, ..new })
}

pub(crate) fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let (_, field) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    Problem::new(ErrorCode::InvalidRequest, format!("`{field}` {detail}")).with_field(pointer, detail)
}

fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is no such key")
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to `map_err`")]
pub(crate) fn unavailable(error: Error) -> Problem {
    let (code, detail) = error.refusal();
    Problem::new(code, detail)
}
