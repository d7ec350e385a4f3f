//! API keys, stream tokens and the audit log.

use std::fmt;

use chrono::{DateTime, Utc};
use posthaste_types::{AuditId, KeyId, Scope, TaskId, whole};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::shapes;

/// Body of `POST /v1/keys`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// For people; 1 to 100 bytes.
    #[schema(value_type = shapes::KeyName)]
    pub name: String,
    /// What it allows; at least one.
    #[schema(value_type = shapes::Scopes)]
    pub scopes: Vec<Scope>,
    /// Refused from then on; absent: never. In the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API key as callers see it; the key itself only in the answer that made it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id.
    #[schema(value_type = shapes::KeyId)]
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// `phk_` and 8 characters: how the key begins.
    pub prefix: String,
    /// What it allows.
    #[schema(value_type = shapes::Scopes)]
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Refused from then on.
    #[schema(required = true)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Refused since then.
    #[schema(required = true)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    #[schema(required = true)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// The key that it takes the place of.
    #[schema(value_type = Option<shapes::KeyId>, required = true)]
    pub rotated_from: Option<KeyId>,
    /// `phk_…`, the key itself; in the answer to its creation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Without the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("prefix", &self.prefix)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// `GET /v1/keys`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyPage {
    /// Newest first, revoked and expired ones among them.
    pub keys: Vec<Key>,
    /// Keys of this page of which this version of the program cannot read the rest. Nobody comes in with them; they can be
    /// revoked.
    #[serde(default)]
    #[schema(value_type = Vec<shapes::KeyId>, required = true)]
    pub unreadable: Vec<KeyId>,
    /// Cursor of the next page.
    #[schema(required = true)]
    pub next: Option<String>,
    /// How many keys with the scope `admin` can be used now. Without one, keys are made with `posthaste keys create`
    /// alone.
    pub usable_admin_keys: u64,
}

/// Body of `POST /v1/keys/{id}/rotate`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old key goes on, seconds, up to 30 days; absent: a day.
    #[serde(
        default,
        deserialize_with = "whole::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::KeyOverlap>)]
    pub overlap_s: Option<u64>,
}

/// Body of `POST /v1/stream-tokens`: one of `channels` and `task`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStreamToken {
    /// Events of these channels, 1 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::GrantedChannels>)]
    pub channels: Option<Vec<String>>,
    /// Events of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::TaskId>)]
    pub task: Option<TaskId>,
    /// How long streams may be opened with it, seconds, 1 to 900; absent: 900.
    #[serde(
        default,
        deserialize_with = "whole::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::StreamTokenTtl>)]
    pub ttl_s: Option<u64>,
}

/// Answer to `POST /v1/stream-tokens`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamToken {
    /// `pht_…`, for `?token=`.
    pub token: String,
    /// No stream can be opened with it from then on; one that is open goes on.
    pub expires_at: DateTime<Utc>,
}

/// Without the token itself.
impl fmt::Debug for StreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// One entry of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(value_type = shapes::AuditId)]
    pub id: AuditId,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// A key's id, `cli`, `role:` and a database role, or `open` where no key is asked for.
    pub actor: String,
    /// `key.create`, `endpoint.delete` and so on.
    pub action: String,
    /// The id, or the name, of what it was done to.
    pub object: String,
    /// What was asked for, without secrets.
    #[schema(value_type = Object)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// `GET /v1/audit`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Cursor of the next page.
    #[schema(required = true)]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_a_debug_form() {
        let key = serde_json::json!({
            "id": "key_01m8pd209cedfab7x8jwh2b5qd", "name": "shop", "prefix": "phk_12345678", "scopes": ["read"],
            "created_at": "2026-01-01T00:00:00Z", "expires_at": null, "revoked_at": null, "last_used_at": null,
            "rotated_from": null, "key": "phk_12345678secret",
        });
        let token = serde_json::json!({ "token": "pht_secret", "expires_at": "2026-01-01T00:00:00Z" });
        let key: Key = serde_json::from_value(key).unwrap();
        let token: StreamToken = serde_json::from_value(token).unwrap();
        let shown = format!("{key:?} {token:?}");
        assert!(
            shown.contains("phk_12345678") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
